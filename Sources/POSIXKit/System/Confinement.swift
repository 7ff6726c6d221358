import CMandosSystem

/// The strictest confinement of a process that reads hostile packets: it can send and receive UDP packets and messages over one
/// descriptor, and do nothing else. Source: seccomp(2), setrlimit(2), capabilities(7).
public enum Confinement {
    /// What such a process may use.
    public struct Limits: Sendable {
        let memory: Int
        let files: UInt32
        let writesFiles: Bool

        /// `memory` is in bytes; `files` is the highest number of a descriptor, plus one. With `writesFiles`, those that it keeps may
        /// be files that it writes to.
        public init(memory: Int, files: UInt32, writesFiles: Bool) {
            self.memory = memory
            self.files = files
            self.writesFiles = writesFiles
        }
    }

    /// Confines this process, for good, as `user` and `group`, which only root can choose.
    ///
    /// `name` is its name in ps(1), 15 characters at most. It keeps only `descriptors` of ours. A kernel without seccomp filters, or
    /// an architecture other than x86-64 and arm64, does not restrict its system calls.
    public static func toDatagrams(
        name: StaticString, keeping descriptors: [Int32], user: UInt32, group: UInt32, _ limits: Limits
    ) throws(SystemError) {
        PrivilegedHelper.isolate(name, keeping: descriptors)
        try SystemError.check(
            "limiting resources", cmandos_limit_resources(limits.memory, limits.files, limits.writesFiles))
        try Hardening.become(user: user, group: group, isDroppingGroups: Hardening.isRoot)
        try SystemError.check("giving up capabilities", cmandos_set_capabilities(0))
        try Hardening.seal()
        _ = cmandos_allow_only_datagrams()
    }
}
