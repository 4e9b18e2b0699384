use super::*;

/// A megabyte and a bit, longer than any block and no multiple of one.
fn long() -> Vec<u8> {
    (0..=250).cycle().take(1_000_003).collect()
}

/// The digests of "", of "abc" (those are in the standards too) and of [`long`], by Python's `hashlib`.
const KNOWN: [(HashAlgorithm, [&str; 3]); 11] = [
    (
        HashAlgorithm::Sha256,
        [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "a7c4bea888022868c93104055fd56077cc81fe9eb624820fe2f717f313188782",
        ],
    ),
    (
        HashAlgorithm::Sha384,
        [
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            "f7ba867eca7c590458066f5c73d9eb21fdf57968fee8d329f2b4ce15da3c6edb10f0ed54c9caa744c4b13f4b2f10267e",
        ],
    ),
    (
        HashAlgorithm::Sha512,
        [
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f\
         63b931bd47417a81a538327af927da3e",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
         454d4423643ce80e2a9ac94fa54ca49f",
            "550f0e12aacbac51159f76b6669c0efec2afc3038dc1b808196687a810dcf0c324f6384841bda144d27c550fef3de106\
         e0ac39ff208210f47cdbe5bc661ab7a5",
        ],
    ),
    (
        HashAlgorithm::Sha512_256,
        [
            "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a",
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
            "bb49a99427ad10861bea2f65b69e91d059a85741a4833ff36950c4f2656e6b2f",
        ],
    ),
    (
        HashAlgorithm::Sha3_256,
        [
            "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a",
            "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
            "1e1627437199d5ce8f3e5f0a8802038b562a873169f63a92052eceac062dff2c",
        ],
    ),
    (
        HashAlgorithm::Sha3_384,
        [
            "0c63a75b845e4f7d01107d852e4c2485c51a50aaaa94fc61995e71bbee983a2ac3713831264adb47fb6bd1e058d5f004",
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
            "da816dd9fdaf2d8d1e2f2505f1122b4f1b4821c2a96ce358d62aed73fefdc7bdd26a5c5c0d4861c4b84d161f91804e7b",
        ],
    ),
    (
        HashAlgorithm::Sha3_512,
        [
            "a69f73cca23a9ac5c8b567dc185a756e97c982164fe25859e0d1dcc1475c80a615b2123af1f5f94c11e3e9402c3ac558\
         f500199d95b6d3e301758586281dcd26",
            "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e39340\
         57340b4cf408d5a56592f8274eec53f0",
            "8c936a3725bfdfe6e2cb8e4971e85e3d185a8a28574f0f0081084c9e8546ec41f0928cc1dae8ac9a5a1e827a89835f20\
         bfe96f1dcf7cadb11efe310e04f49077",
        ],
    ),
    (
        HashAlgorithm::Shake128,
        [
            "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
            "5881092dd818bf5cf8a3ddb793fbcba74097d5c526a6d35f97b83351940f2cc8",
            "8a28bf0143a7c635d0e9548d077f8a88f36b2ae2662c0d2a07ea7eb03dac5841",
        ],
    ),
    (
        HashAlgorithm::Shake256,
        [
            "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762fd75dc4ddd8c0f200cb05019d67b592f6\
         fc821c49479ab48640292eacb3b7c4be",
            "483366601360a8771c6863080cc4114d8db44530f8f1e1ee4f94ea37e78b5739d5a15bef186a5386c75744c0527e1faa\
         9f8726e462a12a4feb06bd8801e751e4",
            "baea4ef1ed97873278135b8d755b698a76e1a63b64d7a96ddf283a1bd04a28b57d6896a29c3a1a5239f8e5626d85a563\
         85a6fe5787eedc040a9be19f69dcac7e",
        ],
    ),
    (
        HashAlgorithm::Blake2b,
        [
            "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419d25e1031afee585313896444934eb04b\
         903a685b1448b755d56f701afe9be2ce",
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc95\
         18d38aa8dbf1925ab92386edd4009923",
            "55ca194d5ccd0ea2c89597f038955d318c6edb7d6151102ab15e8c6d10d44337f85a1f6eb26b8207bb8570df7f4511a6\
         949bd43fff0a62ef36ed32f5628cdbc0",
        ],
    ),
    (
        HashAlgorithm::Blake2s,
        [
            "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9",
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
            "18d13a611df471fbe0c1e923da5791618ca3e8d3488661f611573b9e7ff062f3",
        ],
    ),
];

#[test]
fn digests_are_those_of_another_implementation() {
    let long = long();
    for (algorithm, expected) in KNOWN {
        for (data, expected) in [b"".as_slice(), b"abc", &long].into_iter().zip(expected) {
            assert_eq!(hex::encode(algorithm.digest(data)), expected, "{algorithm} of {} bytes", data.len());
        }
    }
    assert_eq!(KNOWN.map(|(algorithm, _)| algorithm), HashAlgorithm::ALL);
}

#[test]
fn lengths_are_as_said_and_names_lead_back() {
    for algorithm in HashAlgorithm::ALL {
        assert_eq!(algorithm.digest(b"x").len(), algorithm.digest_len());
        assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        assert_eq!(algorithm.name().to_uppercase().parse(), Ok(algorithm));
    }
    for unknown in ["", "md5", "sha1", "sha-256", "blake3", "sha256 "] {
        assert_eq!(unknown.parse::<HashAlgorithm>(), Err(Error::Malformed("unknown hash algorithm")));
    }
}
