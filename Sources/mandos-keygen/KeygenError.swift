/// What stops mandos-keygen, in words for whoever ran it.
struct KeygenError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
