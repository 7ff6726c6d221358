/// A failure of mandos-keygen, described for its user.
struct KeygenError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
