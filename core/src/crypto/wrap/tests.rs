use super::*;

const CONTEXT: WrapContext = WrapContext {
    tenant: [0x11; 16],
    context: [0x22; 16],
    key_id: KeyId([
        0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
    ]),
    version: KeyVersion::FIRST,
    purpose: Purpose::ContextKey,
    key_type: KeyType::Symmetric256,
    origin: Origin::Imported,
    exportable: true,
};

/// The key-encryption key of the master key whose bytes count up from `first`.
fn kek(first: u8) -> Kek {
    let mut master = Secret::new([0; 32]);
    master.expose_mut().iter_mut().zip(first..).for_each(|(byte, value)| *byte = value);
    Kek::derive(&master, b"salt of one deployment").expect("derived")
}

#[test]
fn what_was_wrapped_unwraps() {
    for length in [0, 16, 32, 1_000] {
        let key = vec![7; length];
        let wrapped = kek(32).wrap(&CONTEXT, &key).expect("wrapped");
        assert_eq!(wrapped.len(), 24 + length + 16);
        assert_eq!(kek(32).unwrap_key(&CONTEXT, &wrapped), Ok(Secret::new(key)));
    }
}

/// Wrapped as section 6 of the contract says by another implementation: Python's `cryptography` and `hmac`.
#[test]
fn a_key_wrapped_elsewhere_unwraps() {
    let wrapped = hex::decode(
        "6465666768696a6b6c6d6e6f707172737475767778797a7b4d49fda6258bf00023bc23a151e2c45acd147217b8ff9c6c\
         163e3f1e689a4b042ec2a853d34ecfb76390f477b64de15e",
    )
    .expect("hexadecimal");
    let context = WrapContext { version: KeyVersion::try_from(7).expect("not zero"), ..CONTEXT };
    assert_eq!(kek(32).unwrap_key(&context, &wrapped), Ok(Secret::new((0..32).collect())));
}

#[test]
fn each_field_of_the_context_is_bound() {
    let wrapped = kek(32).wrap(&CONTEXT, &[7; 32]).expect("wrapped");
    let changed = [
        WrapContext { tenant: [0x12; 16], ..CONTEXT },
        WrapContext { context: [0x21; 16], ..CONTEXT },
        // The same bytes, in neighbouring fields.
        WrapContext { tenant: CONTEXT.context, context: CONTEXT.tenant, ..CONTEXT },
        WrapContext { key_id: KeyId([0; 16]), ..CONTEXT },
        WrapContext { version: KeyVersion::try_from(2).expect("not zero"), ..CONTEXT },
        WrapContext { purpose: Purpose::Signing, ..CONTEXT },
        WrapContext { purpose: Purpose::AuditChain, ..CONTEXT },
        WrapContext { purpose: Purpose::Transport, ..CONTEXT },
        WrapContext { key_type: KeyType::Ed25519, ..CONTEXT },
        WrapContext { origin: Origin::Generated, ..CONTEXT },
        WrapContext { exportable: false, ..CONTEXT },
    ];
    for context in changed {
        let unwrapped = kek(32).unwrap_key(&context, &wrapped);
        assert_eq!(unwrapped, Err(Error::AuthenticationFailed), "{context:?}");
    }
    assert!(kek(32).unwrap_key(&CONTEXT, &wrapped).is_ok());
}

#[test]
fn associated_data_is_laid_out_as_in_the_contract() {
    let kek = kek(32);
    let version = KeyVersion::try_from(7).expect("not zero");
    let context = WrapContext { version, purpose: Purpose::Signing, key_type: KeyType::MlDsa65, ..CONTEXT };
    let expected = [
        &b"cryptoserve/wrap/v1"[..],
        &kek.id().0,
        &[0x11; 16],
        &[0x22; 16],
        &CONTEXT.key_id.0,
        &[0, 0, 0, 7, 2, 20, 2, 1],
    ];
    assert_eq!(kek.associated_data(&context).to_vec(), expected.concat());
}

#[test]
fn another_key_encryption_key_does_not_unwrap() {
    let wrapped = kek(32).wrap(&CONTEXT, &[7; 32]).expect("wrapped");
    assert_eq!(kek(33).unwrap_key(&CONTEXT, &wrapped), Err(Error::AuthenticationFailed));
}

#[test]
fn altered_and_truncated_keys_do_not_unwrap() {
    let kek = kek(32);
    let wrapped = kek.wrap(&CONTEXT, &[7; 32]).expect("wrapped");
    for bit in 0..wrapped.len() * 8 {
        let mut altered = wrapped.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(kek.unwrap_key(&CONTEXT, &altered), Err(Error::AuthenticationFailed), "bit {bit}");
    }
    for length in 0..wrapped.len() {
        assert!(kek.unwrap_key(&CONTEXT, &wrapped[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn wrapping_twice_differs() {
    let [a, b] = [(); 2].map(|()| kek(32).wrap(&CONTEXT, &[7; 32]).expect("wrapped"));
    assert_ne!(a[..24], b[..24]);
    assert_ne!(a[24..], b[24..]);
}

#[test]
fn numbers_lead_back() {
    for id in 0..=255 {
        assert_eq!(Purpose::from_id(id).map(Purpose::id), (1..=4).contains(&id).then_some(id));
        let known = id == 1 || (16..=22).contains(&id);
        assert_eq!(KeyType::from_id(id).map(KeyType::id), known.then_some(id));
        assert_eq!(Origin::from_id(id).map(Origin::id), (1..=2).contains(&id).then_some(id));
    }
}
