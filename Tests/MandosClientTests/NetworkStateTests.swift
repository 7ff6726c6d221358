import Glibc
import MandosFormats
import Testing

@testable import MandosClient

private func second(_ number: Double) -> BootTime { BootTime(milliseconds: Int64(number * 1000)) }

private func interface(_ index: UInt32, _ flags: Int...) -> NetworkInterface {
    NetworkInterface(name: "eth\(index)", index: index, flags: Int32(flags.reduce(IFF_BROADCAST, |)))
}

private let down = interface(1)
private let up = interface(1, IFF_UP)
private let running = interface(1, IFF_UP, IFF_RUNNING)

@Suite struct `The state of the network` {
    private static func make(hooksEnded: Bool = true) -> NetworkState {
        var state = NetworkState(selection: InterfaceSelection(names: [], isForNamedServers: false), delay: 2500)
        if hooksEnded { state.hooksEnded(at: second(1)) }
        return state
    }

    @Test func `changes nothing while the hooks run`() {
        var state = Self.make(hooksEnded: false)
        let actions = state.advance(hasChanged: true, interfaces: { [down] }, at: second(100))
        let (isReady, deadline) = (state.isReady, state.deadline)
        #expect(actions == [])
        #expect(!isReady && deadline == nil)
    }

    @Test func `waits for interfaces as long as the delay says, after the hooks`() {
        var state = Self.make()
        // A second answer of the helper changes nothing.
        state.hooksEnded(at: second(2))
        let (isReady, deadline) = (state.isReady, state.deadline)
        #expect(isReady && deadline == second(3.5))
    }

    @Test func `brings up each interface that is down, once`() {
        var state = Self.make()
        let first = state.advance(hasChanged: true, interfaces: { [down, interface(2)] }, at: second(1))
        let again = state.advance(hasChanged: true, interfaces: { [down, interface(3), up] }, at: second(1))
        let unchanged = state.advance(hasChanged: false, interfaces: { [interface(4)] }, at: second(1))
        #expect(first == [.bringUp(interface: 1), .bringUp(interface: 2), .retryServers])
        #expect(again == [.bringUp(interface: 3), .retryServers])
        #expect(unchanged == [])
    }

    @Test func `tries again after a pause to bring up an interface that could not be brought up`() {
        var state = Self.make()
        _ = state.advance(hasChanged: true, interfaces: { [down, interface(2)] }, at: second(1))
        state.startFailed(1, at: second(1.1))
        let due = state.nextStart
        // Its own answer is a change, and must not make it try without a pause.
        let soon = state.advance(hasChanged: true, interfaces: { [down] }, at: second(1.2))
        let later = state.advance(hasChanged: false, interfaces: { [down] }, at: second(2.1))
        let last = state.advance(hasChanged: true, interfaces: { [down] }, at: second(9))
        let afterwards = state.nextStart
        #expect(due == second(2.1) && afterwards == nil)
        #expect(soon == [.retryServers] && later == [.bringUp(interface: 1)])
        #expect(!last.contains(.bringUp(interface: 1)), "it was brought up; who brings it down now has a reason")
    }

    @Test func `is settled as soon as all interfaces run, which is told once`() {
        var state = Self.make()
        let waiting = state.advance(hasChanged: false, interfaces: { [running, interface(2, IFF_UP)] }, at: second(1))
        let settled = state.advance(hasChanged: false, interfaces: { [running] }, at: second(2))
        let deadline = state.deadline
        let later = state.advance(hasChanged: false, interfaces: { [running] }, at: second(3))
        let atDeadline = state.advance(hasChanged: false, interfaces: { [running] }, at: second(3.5))
        let afterwards = state.advance(hasChanged: false, interfaces: { [running] }, at: second(4))
        #expect(waiting == [] && settled == [.reportSettled] && later == [])
        #expect(deadline == second(3.5), "servers may still be out of reach")
        #expect(atDeadline == [.retryServers] && afterwards == [])
    }

    @Test(arguments: [[], [up]]) func `is settled at the deadline in any case`(interfaces: [NetworkInterface]) {
        var state = Self.make()
        let before = state.advance(hasChanged: false, interfaces: { interfaces }, at: second(3.4))
        let atDeadline = state.advance(hasChanged: false, interfaces: { interfaces }, at: second(3.5))
        let deadline = state.deadline
        let change = state.advance(hasChanged: true, interfaces: { [running] }, at: second(9))
        #expect(before == [] && atDeadline == [.reportSettled, .retryServers])
        #expect(deadline == nil)
        #expect(change == [.retryServers], "servers are still tried again at every change")
    }

    @Test func `does not look at interfaces when there is nothing to decide`() {
        var state = Self.make()
        var count = 0
        let look = {
            count += 1
            return [running]
        }
        for time in [1, 2, 4, 5] { _ = state.advance(hasChanged: false, interfaces: look, at: second(Double(time))) }
        #expect(count == 1)
    }
}
