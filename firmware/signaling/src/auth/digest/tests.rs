#![allow(clippy::unwrap_used)]

use super::*;
use crate::auth::aka::Isim;
use crate::auth::credential::PasswordHash;
use crate::message::headers::{Typed, WwwAuthenticate};

/// RFC 7616 §3.9.1.
const REALM: &str = "http-auth@example.org";
const NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
const CLIENT_NONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

fn challenge(text: &str) -> Digest {
    WwwAuthenticate::parse(text).unwrap().0
}

/// The challenge of RFC 7616 §3.9.1 with some algorithm.
fn with_algorithm(name: &str) -> Digest {
    challenge(&format!(
        "Digest realm=\"{REALM}\", qop=\"auth, auth-int\", algorithm={name}, nonce=\"{NONCE}\", \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    ))
}

fn get(challenges: Vec<Digest>) -> Question {
    Question {
        method: Method::Other("GET".into()),
        uri: Private::new("/dir/index.html".to_owned()),
        challenges,
        count: 1,
        client_nonce: CLIENT_NONCE.to_owned(),
    }
}

fn password(text: &str) -> Credential {
    Credential::Password(Zeroizing::new(text.to_owned()))
}

fn mufasa(question: &Question) -> Result<Answer, Unanswerable> {
    let user = PrivateIdentity::new("Mufasa");
    answer(&mut password("Circle of Life"), &user, question)
}

fn response(answer: &Answer) -> String {
    answer.credentials.get("response").unwrap()
}

#[test]
fn the_examples_of_rfc_7616_are_answered_as_printed_there() {
    for (algorithm, printed) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        (
            "SHA-256",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
    ] {
        let answer = mufasa(&get(vec![with_algorithm(algorithm)])).unwrap();
        assert_eq!(response(&answer), printed);
        assert_eq!(
            answer.credentials.to_string(),
            format!(
                "Digest username=\"Mufasa\", realm=\"{REALM}\", nonce=\"{NONCE}\", \
                 uri=\"/dir/index.html\", response=\"{printed}\", algorithm={algorithm}, \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", qop=auth, \
                 cnonce=\"{CLIENT_NONCE}\", nc=00000001"
            )
        );
    }
}

/// The values were computed with OpenSSL; the one example in RFC 7616 §3.9.2 is wrong
/// (erratum 4897).
#[test]
fn cut_sha_512_and_session_keys_are_answered_as_openssl_computes_them() {
    for (algorithm, expected) in [
        (
            "SHA-512-256",
            "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0",
        ),
        ("MD5-sess", "e783283f46242139c486a698fec7211d"),
        (
            "sha-256-SESS",
            "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
        ),
        (
            "SHA-512-256-sess",
            "3f2a34f923c38b0fb26dce2fdfc2ce326c23cecf86fbb1444f3e51fbbc2cb92e",
        ),
    ] {
        let answer = mufasa(&get(vec![with_algorithm(algorithm)])).unwrap();
        assert_eq!(response(&answer), expected, "{algorithm}");
    }
}

#[test]
fn a_challenge_without_qop_is_answered_as_in_rfc_2069() {
    let asked = challenge(
        "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
    );
    let user = PrivateIdentity::new("Mufasa");
    let answer = answer(&mut password("CircleOfLife"), &user, &get(vec![asked])).unwrap();
    // As corrected by erratum 749.
    assert_eq!(response(&answer), "1949323746fe6a43ef61f9606e7febea");
    for absent in ["qop", "nc", "cnonce", "algorithm", "opaque"] {
        assert_eq!(answer.credentials.raw(absent), None);
    }
}

#[test]
fn a_later_request_counts_on_under_the_same_nonce() {
    let mut question = get(vec![with_algorithm("MD5")]);
    let first = mufasa(&question).unwrap();
    question.count = 18;
    let later = mufasa(&question).unwrap();
    assert_eq!(later.credentials.raw("nc").unwrap(), "00000012");
    assert_ne!(response(&first), response(&later));
}

#[test]
fn of_several_challenges_the_first_that_fits_is_answered() {
    let asked = ["SHA3-256", "SHA-512-256", "SHA-256", "MD5"].map(with_algorithm);
    let answer_of = |credential: &mut Credential| {
        let user = PrivateIdentity::new("Mufasa");
        answer(credential, &user, &get(asked.to_vec())).unwrap()
    };
    let by_password = answer_of(&mut password("Circle of Life"));
    assert_eq!(by_password.challenge, 1);
    let hash = |hash: Hash| {
        let user = PrivateIdentity::new("Mufasa");
        let question = get(vec![with_algorithm(hash.name())]);
        let sheet = Sheet::read(&user, &question, &question.challenges[0]).unwrap();
        let hex = sheet.password_hash(b"Circle of Life");
        PasswordHash::parse(hash, REALM, &hex).unwrap()
    };
    let kept = vec![hash(Hash::Md5), hash(Hash::Sha256)];
    let by_hash = answer_of(&mut Credential::Hashes(kept));
    assert_eq!(by_hash.challenge, 2);
    assert_eq!(
        response(&by_hash),
        "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    );
}

#[test]
fn a_hash_is_good_in_its_realm_only() {
    let other = PasswordHash::parse(Hash::Md5, "other.example", &"0".repeat(32)).unwrap();
    let refused = answer(
        &mut Credential::Hashes(vec![other]),
        &PrivateIdentity::new("Mufasa"),
        &get(vec![with_algorithm("MD5")]),
    );
    assert_eq!(refused.unwrap_err(), Unanswerable::NoFit);
}

#[test]
fn what_cannot_be_answered_is_not_answered_by_something_weaker() {
    let no_fit = [
        "Basic realm=\"x\"",
        "Bearer authz_server=\"https://idp.example\"",
        "Digest realm=\"x\", nonce=\"n\", algorithm=AKAv2-MD5, qop=\"auth\"",
        "Digest realm=\"x\", nonce=\"n\", algorithm=AKAv1-MD5, qop=\"auth\"",
        "Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"",
        "Digest realm=\"x\", nonce=\"n\", algorithm=MD5-sess",
        "Digest realm=\"x\", nonce=\"n\", algorithm=-sess, qop=\"auth\"",
    ];
    for text in no_fit {
        let refused = mufasa(&get(vec![challenge(text)]));
        assert_eq!(refused.unwrap_err(), Unanswerable::NoFit, "{text}");
    }
    for text in ["Digest nonce=\"n\"", "Digest realm=\"x\", qop=\"auth\""] {
        let refused = mufasa(&get(vec![challenge(text)]));
        assert_eq!(refused.unwrap_err(), Unanswerable::Broken, "{text}");
    }
    assert_eq!(mufasa(&get(vec![])).unwrap_err(), Unanswerable::NoFit);
}

#[test]
fn a_user_name_and_a_realm_with_quotes_stay_inside_theirs() {
    let asked = challenge(r#"Digest realm="a\"b", nonce="n\\1", qop="auth""#);
    let user = PrivateIdentity::new("al\"ice\r\nX: y");
    let answer = answer(&mut password("x"), &user, &get(vec![asked])).unwrap();
    let text = answer.credentials.to_string();
    assert!(text.starts_with(r#"Digest username="al\"ice  X: y", realm="a\"b", nonce="n\\1""#));
}

/// Test set 1 of TS 35.208 as a challenge; the answers were computed with OpenSSL.
mod with_aka {
    use super::*;

    fn bytes(hex: &str) -> Zeroizing<[u8; 16]> {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        Zeroizing::new(std::array::from_fn(byte))
    }

    fn isim(k: &str) -> Credential {
        let opc = bytes("cd63cb71954a9f4e48a5994e37a02baf");
        Credential::Isim(Box::new(Isim::new(bytes(k), opc)))
    }

    fn register(credential: &mut Credential) -> Answer {
        let question = Question {
            method: Method::Register,
            uri: Private::new("sip:ims.test".to_owned()),
            challenges: vec![challenge(
                "Digest realm=\"ims.test\", algorithm=AKAv1-MD5, qop=\"auth\", \
                 nonce=\"I1U8vpY3qJ0hiuZNrke/NVXzKLQ1d7m5Sp/6w1Tfr7M=\"",
            )],
            count: 1,
            client_nonce: "0a4f113b".to_owned(),
        };
        answer(
            credential,
            &PrivateIdentity::new("alice@ims.test"),
            &question,
        )
        .unwrap()
    }

    const K: &str = "465b5ce8b199b49faa5f0a2ee238a6bc";

    #[test]
    fn res_is_the_password_as_raw_bytes_and_the_keys_come_with_it() {
        let answer = register(&mut isim(K));
        assert_eq!(response(&answer), "1fae7f735884994be192d85283a57568");
        assert_eq!(answer.credentials.raw("algorithm"), Some("AKAv1-MD5"));
        let keys = AkaKeys {
            ck: bytes("b40ba9a3c58b2a05bbf0d987b21bf8cb"),
            ik: bytes("f769bcd751044604127672711c6d3441"),
        };
        assert_eq!(answer.verdict, Verdict::Keyed(keys));
    }

    #[test]
    fn a_used_number_is_answered_with_auts_under_an_empty_password() {
        let mut isim = isim(K);
        register(&mut isim);
        let answer = register(&mut isim);
        assert_eq!(answer.verdict, Verdict::OutOfStep);
        assert_eq!(response(&answer), "8ab00c213d061232454f1d22f82310d7");
        let auts = answer.credentials.get("auts").unwrap();
        assert_eq!(auts.len(), 20, "14 bytes in base64");
    }

    #[test]
    fn a_foreign_network_gets_neither_a_response_nor_auts() {
        let answer = register(&mut isim("565b5ce8b199b49faa5f0a2ee238a6bc"));
        assert_eq!(answer.verdict, Verdict::ForeignNetwork);
        assert_eq!(response(&answer), "");
        assert_eq!(answer.credentials.raw("auts"), None);
    }
}
