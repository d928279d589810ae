use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use iq::Private;
use signaling::Input;
use signaling::auth::AuthenticationId;
use signaling::auth::aka::Isim;
use signaling::auth::credential::PasswordHash;
use signaling::auth::digest::{Hash, Unanswerable, Verdict};
use signaling::message::Method;
use signaling::message::headers::{Typed, WwwAuthenticate};

use super::*;

/// A state folder and a key outside of it, gone at the end.
struct Site {
    root: PathBuf,
    state: State,
    settings: Credentials,
}

impl Site {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("gatehouse-{name}-{}", std::process::id()));
        let folder = root.join("state");
        fs::create_dir_all(&folder).expect("a folder");
        let site = Site {
            settings: Credentials {
                key_file: Some(root.join("key")),
                ..Credentials::default()
            },
            state: State { folder },
            root,
        };
        site.set_key(&"0123456789abcdef".repeat(4));
        site
    }

    fn set_key(&self, text: &str) {
        let key = self.root.join("key");
        fs::write(&key, text).expect("a key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.settings, &self.state)
    }

    fn store(&self) -> Store {
        self.open().expect("a good store")
    }

    fn fault(&self) -> String {
        self.open().err().expect("a fault").to_string()
    }

    /// The one record's file.
    fn file(&self) -> PathBuf {
        let files = fs::read_dir(self.settings.path(&self.state)).expect("a folder");
        let mut files = files.flatten().map(|it| it.path());
        files
            .find(|it| record_name(it).is_some())
            .expect("a record")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn alice() -> PrivateIdentity {
    PrivateIdentity::new("alice@ims.test")
}

fn password(text: &str) -> Credential {
    Credential::Password(Zeroizing::new(text.to_owned()))
}

fn question(challenge: &str) -> Question {
    Question {
        method: Method::Register,
        uri: Private::new("sip:ims.test".to_owned()),
        challenges: vec![WwwAuthenticate::parse(challenge).expect("a challenge").0],
        count: 1,
        client_nonce: "0a4f113b".to_owned(),
    }
}

const MD5: &str = "Digest realm=\"ims.test\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";

/// Test set 1 of TS 35.208.
const AKA: &str = "Digest realm=\"ims.test\", algorithm=AKAv1-MD5, qop=\"auth\", \
    nonce=\"I1U8vpY3qJ0hiuZNrke/NVXzKLQ1d7m5Sp/6w1Tfr7M=\"";

fn isim() -> Credential {
    let block = |hex: &str| {
        let bytes = key::unhex(hex.as_bytes()).expect("digits");
        Zeroizing::new(*bytes.first_chunk().expect("16 bytes"))
    };
    let isim = Isim::new(
        block("465b5ce8b199b49faa5f0a2ee238a6bc"),
        block("cd63cb71954a9f4e48a5994e37a02baf"),
    );
    Credential::Isim(Box::new(isim))
}

#[test]
fn a_user_is_answered_for_listed_and_forgotten() {
    let site = Site::new("user");
    let store = site.store();
    assert_eq!(store.list().expect("a list"), []);
    assert!(!store.remove(&alice()).expect("no folder is no fault"));
    store.put(&alice(), password("s3cret-word")).expect("room");
    let answer = store.answer(&alice(), &question(MD5)).expect("a store");
    assert_eq!(answer.expect("an answer").verdict, Verdict::Proven);
    let hash = PasswordHash::parse(Hash::Md5, "ims.test", &"ab".repeat(16)).expect("a hash");
    let bob = PrivateIdentity::new("bob@ims.test");
    store.put_hash(&bob, hash.clone()).expect("room");
    let hash = PasswordHash::parse(Hash::Sha256, "ims.test", &"cd".repeat(32)).expect("a hash");
    store.put_hash(&bob, hash).expect("room");
    let listed = |identity: &str, kind: &str| Entry::Good {
        identity: identity.to_owned(),
        kind: kind.to_owned(),
    };
    let list = store.list().expect("a list");
    assert_eq!(
        list,
        [
            listed("alice@ims.test", "password"),
            listed(
                "bob@ims.test",
                "hashes: MD5 in ims.test, SHA-256 in ims.test"
            ),
        ]
    );
    assert!(store.remove(&alice()).expect("a store"));
    let answer = store.answer(&alice(), &question(MD5)).expect("a store");
    assert_eq!(answer.expect_err("nobody"), AuthenticationFailure::Unknown);
}

#[test]
fn nothing_of_a_secret_or_a_name_stands_in_the_folder() {
    let site = Site::new("plain");
    site.store()
        .put(&alice(), password("s3cret-word"))
        .expect("room");
    let folder = site.settings.path(&site.state);
    for file in fs::read_dir(folder).expect("a folder").flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(file.path()).expect("a file");
        let text = name + &String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains("s3cret") && !text.contains("alice"),
            "{text}"
        );
    }
}

#[test]
fn an_isims_count_is_on_the_disk_before_its_answer_is_seen() {
    let site = Site::new("isim");
    site.store().put(&alice(), isim()).expect("room");
    let verdict = |site: &Site| {
        let answer = site.store().answer(&alice(), &question(AKA));
        answer.expect("a store").expect("an answer").verdict
    };
    assert!(matches!(verdict(&site), Verdict::Keyed(_)));
    // Another store, as after a restart, has seen it too.
    assert_eq!(verdict(&site), Verdict::OutOfStep);
    let refused = site.store().answer(&alice(), &question(MD5));
    assert_eq!(
        refused.expect("a store").expect_err("not for an ISIM"),
        AuthenticationFailure::Unanswerable(Unanswerable::NoFit)
    );
}

#[test]
fn a_count_that_cannot_be_kept_answers_nothing() {
    let site = Site::new("full");
    site.store().put(&alice(), isim()).expect("room");
    // A folder where the new file would be written: it cannot be.
    fs::create_dir(site.file().with_extension("new")).expect("a folder");
    assert!(site.store().answer(&alice(), &question(AKA)).is_err());
}

#[test]
fn a_damaged_file_is_told_and_not_written_over() {
    let site = Site::new("damaged");
    site.store().put(&alice(), password("old")).expect("room");
    let file = site.file();
    let good = fs::read(&file).expect("a file");
    for at in [0, 25, 40, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).expect("a file");
        assert!(site.store().put(&alice(), password("new")).is_err(), "{at}");
        assert_eq!(fs::read(&file).expect("a file"), bad, "{at}");
    }
    fs::write(&file, &good[..good.len() / 2]).expect("a file");
    let told = site.store().answer(&alice(), &question(MD5));
    let told = told.expect_err("damage").to_string();
    assert!(
        told.ends_with(
            "is damaged: restore it from a backup, or remove the file and add the user again"
        ),
        "{told}"
    );
    let list = site.store().list().expect("a list");
    let damage = Damage::Broken;
    assert_eq!(list, [Entry::Bad { file, damage }]);
}

#[test]
fn a_record_under_another_users_name_is_damage() {
    let site = Site::new("swapped");
    let store = site.store();
    store.put(&alice(), password("hers")).expect("room");
    let file = site.file();
    let other = store.path(&PrivateIdentity::new("mallory@ims.test"));
    fs::copy(file, other).expect("a copy");
    let mallory = PrivateIdentity::new("mallory@ims.test");
    assert!(store.answer(&mallory, &question(MD5)).is_err());
}

#[test]
fn a_folder_of_another_key_is_told_and_left_alone() {
    let site = Site::new("foreign");
    site.store().put(&alice(), password("old")).expect("room");
    let before = fs::read(site.file()).expect("a file");
    site.set_key(&"f".repeat(64));
    assert!(site.fault().contains("was made under another key"));
    assert_eq!(fs::read(site.file()).expect("a file"), before);
    site.set_key(&"0123456789abcdef".repeat(4));
    fs::remove_file(site.settings.path(&site.state).join(MARKER)).expect("a marker");
    assert!(site.fault().contains("key-id is damaged"));
}

#[test]
fn a_key_that_is_missing_short_open_or_beside_its_data_is_refused() {
    let mut site = Site::new("key");
    site.set_key("too short");
    assert!(site.fault().ends_with("or 64 hexadecimal digits"));
    site.set_key(&"k".repeat(32));
    let key = site.root.join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("a mode");
    assert!(site.fault().ends_with("chmod 600 it"));
    // A link into the state folder is a key in the state folder.
    let inside = site.state.folder.join("key");
    fs::rename(&key, &inside).expect("a move");
    std::os::unix::fs::symlink(&inside, &key).expect("a link");
    assert!(site.fault().contains("lies beside what it opens"));
    site.settings.key_file = None;
    assert!(
        site.fault()
            .contains("LoadCredentialEncrypted=credentials-key")
    );
}

#[test]
fn a_derived_password_is_an_hmac_that_the_operator_can_compute_too() {
    let mut site = Site::new("derived");
    site.set_key(&"00".repeat(32));
    let answer = site.store().answer(&alice(), &question(MD5));
    assert_eq!(
        answer.expect("a store").expect_err("not set"),
        AuthenticationFailure::Unknown
    );
    site.settings.derived = true;
    // printf alice@ims.test | openssl dgst -sha256 -mac HMAC -macopt hexkey:00…00
    let derived = site.store().derived_password(&alice());
    assert_eq!(
        *derived,
        "931a58835e6bf4e3e7ed6d70a80ba8fac9a3083dc5a3a113249a08cadf386dcd"
    );
    let by_rule = site
        .store()
        .answer(&alice(), &question(MD5))
        .expect("a store");
    site.store()
        .put(&alice(), Credential::Password(derived))
        .expect("room");
    let stored = site
        .store()
        .answer(&alice(), &question(MD5))
        .expect("a store");
    assert_eq!(
        by_rule.expect("an answer").credentials,
        stored.expect("an answer").credentials
    );
}

#[test]
fn the_service_answers_beside_signaling_and_at_once_when_it_cannot() {
    let site = Site::new("service");
    site.store().put(&alice(), password("x")).expect("room");
    let health = crate::health::Health::default();
    let (answers_in, mut answers) = tokio::sync::mpsc::channel(1);
    let service =
        Service::start(Some(site.store()), answers_in.clone(), &health).expect("a thread");
    let id = AuthenticationId(7);
    let asked = || Box::new(question(MD5));
    assert!(service.ask(id, alice(), asked()).is_none());
    let input = answers.blocking_recv().expect("an answer");
    assert!(matches!(
        input,
        Input::Authenticated {
            id: AuthenticationId(7),
            answer: Ok(_)
        }
    ));
    let closed = Service::start(None, answers_in, &health).expect("no thread");
    let failure = match closed.ask(id, alice(), asked()) {
        Some(Input::Authenticated { answer, .. }) => answer.err(),
        other => panic!("{other:?}"),
    };
    assert_eq!(failure, Some(AuthenticationFailure::Unavailable));
}
