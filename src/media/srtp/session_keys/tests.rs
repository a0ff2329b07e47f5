use super::*;
use crate::media::packet::rtp_header;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// RFC 3711 appendix B.2, whose offset is its session salt: SSRC and index are zero.
#[test]
fn the_key_stream_of_aes_cm() {
    let key = UnboundCipherKey::new(&cipher::AES_128, &hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let mut stream = vec![0; 1_044_512];
    apply_key_stream(&EncryptingKey::ctr(key).unwrap(), &vector(&salt, 0, 0), &mut stream).unwrap();
    let start =
        "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
    let end =
        "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44";
    assert!(stream.starts_with(&hex(start)) && stream.ends_with(&hex(end)));
}

/// RFC 3711 appendix B.3.
#[test]
fn session_keys_follow_from_the_master_key() {
    let master = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    let master = MasterKey::new(Suite::AesCm128HmacSha1_80, &master).unwrap();
    for (label, expected) in [
        (RTP.encryption, "C61E7A93744F39EE10734AFE3FF7A087"),
        (RTP.salt, "30CBBC08863D8C85D49DB34A9AE1"),
        (
            RTP.authentication,
            "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE E049646C43D9327AD175578EF7227098
             6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2",
        ),
    ] {
        let expected = hex(expected);
        let mut out = vec![0xee; expected.len()];
        pseudo_random(&master, label, &mut out);
        assert_eq!(out, expected, "label {label}");
    }
}

/// RFC 7714 §16 and §17 give session keys, not master keys.
fn gcm(algorithm: &'static aead::Algorithm, key: &str) -> SessionKeys {
    let cipher = || Cipher::Gcm {
        key: LessSafeKey::new(UnboundKey::new(algorithm, &hex(key)).unwrap()),
        salt: hex("517569642070726f2071756f").try_into().unwrap(),
    };
    SessionKeys { rtp: cipher(), rtcp: cipher() }
}

const KEY_128: &str = "000102030405060708090a0b0c0d0e0f";
const KEY_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// RFC 7714 §16.1.1 and §16.2.1.
#[test]
fn srtp_with_gcm() {
    let plain = hex("8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e6973206469
                     7669736120696e207061727465732074726573");
    let header = rtp_header(&plain).unwrap();
    for (algorithm, key, protected) in [
        (
            &aead::AES_128_GCM,
            KEY_128,
            "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833
             899d7f27beb16a9152cf765ee4390cce",
        ),
        (
            &aead::AES_256_GCM,
            KEY_256,
            "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        ),
    ] {
        let keys = gcm(algorithm, key);
        let mut buffer = [&plain[..], &[0; GCM_TAG]].concat();
        assert_eq!(keys.seal_rtp(&header, 0xf17b, &mut buffer, plain.len()), Some(buffer.len()));
        assert_eq!(buffer, hex(protected));
        assert_eq!(keys.open_rtp(&header, 0xf17b, &mut buffer), Some(plain.len()));
        assert!(buffer.starts_with(&plain));
    }
}

/// RFC 7714 §17.1 and §17.2, whose report is a word shorter than its header says.
#[test]
fn srtcp_with_gcm() {
    let plain = hex("81c8000d4d617273 4e5450314e545032525450200000042a0000e9304c756e61
                     deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
    for (algorithm, key, protected) in [
        (
            &aead::AES_128_GCM,
            KEY_128,
            "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded
             0bb9275bc84aa45896cf4d2fc5abf872 45d9eade 800005d4",
        ),
        (
            &aead::AES_256_GCM,
            KEY_256,
            "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de047
             6f1b6fad1d1eb30c4446839f57ff6f6c b26ac3be 800005d4",
        ),
    ] {
        let keys = gcm(algorithm, key);
        let mut buffer = [&plain[..], &[0; GCM_TAG + RTCP_INDEX]].concat();
        let ssrc = 0x4d61_7273;
        assert_eq!(keys.seal_rtcp(ssrc, 0x5d4, &mut buffer, plain.len()), Some(buffer.len()));
        assert_eq!(buffer, hex(protected));
        assert_eq!(keys.rtcp_index(&buffer), Some((0x5d4, true)));
        assert_eq!(keys.open_rtcp(ssrc, 0x5d4, &mut buffer), Some(plain.len()));
        assert!(buffer.starts_with(&plain));
    }
}
