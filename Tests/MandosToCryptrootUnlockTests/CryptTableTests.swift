import Testing

@testable import mandos_to_cryptroot_unlock

@Suite struct `The table of encrypted volumes` {
    @Test(arguments: [
        ("", false), ("# root /dev/sda2 none keyscript=/x\n", false), ("\n \t\n", false),
        ("root /dev/sda2 none luks,initramfs\n", false), ("root /dev/sda2 none\n", false),
        ("root /dev/sda2 none luks,keyscript=/lib/cryptsetup/askpass", false),
        ("root /dev/sda2 none luks,keyscript=/lib/mandos/plugin-runner,discard\n", true),
        ("root\t/dev/sda2  none\tkeyscript=decrypt_keyctl", true), ("root /dev/sda2 none xkeyscript=/x\n", false),
        ("root /dev/sda2 none luks\nswap /dev/sda3 root luks,keyscript=decrypt_derived\n", false),
        ("swap /dev/sda3 root keyscript=decrypt_derived\nroot /dev/sda2 none luks\n", false),
        ("a /dev/a none keyscript=/x\n# b\nc /dev/c none luks,keyscript=/y\n", true),
    ])
    func `tells whether every volume has a keyscript`(text: String, answer: Bool) {
        #expect(CryptTable.hasOnlyKeyscripts(Array(text.utf8)) == answer)
    }
}
