use alloc::sync::Arc;

use coffer_engine::ErrorKind;
use coffer_engine::env::{Env, OpenMode, mem};

use super::*;
use crate::credentials::CredentialKind;
use crate::keyring::layout::CONTENT_LEN;

const COST: KdfCost = KdfCost::FLOOR;
const STORE: StoreId = StoreId([3; 16]);

fn pass(text: &str) -> Credential {
    Credential::passphrase(text.as_bytes())
}

fn fresh() -> (Env, Keyring) {
    let env = mem::env();
    let keyring = Keyring::create(&env, STORE, &pass("one"), COST, b"settings").unwrap();
    (env, keyring)
}

fn refusal(env: &Env, credential: &Credential) -> ErrorKind {
    Keyring::open(env, credential)
        .expect_err("must be refused")
        .kind()
}

fn bytes_of(env: &Env, id: coffer_engine::FileId) -> Vec<u8> {
    let file = env.fs.open(id, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn overwrite(env: &Env, id: coffer_engine::FileId, bytes: &[u8]) {
    env.fs.remove(id).unwrap();
    env.fs
        .open(id, OpenMode::Create)
        .unwrap()
        .append(bytes)
        .unwrap();
}

/// Rewrites an image as an attacker without keys can: checksum and parity right, MAC not.
fn forge(env: &Env, id: coffer_engine::FileId, change: impl Fn(&mut [u8; CONTENT_LEN])) {
    let mut image = copies::read_copy(env, id).unwrap().image;
    change(&mut image.0);
    let checksum = xxhash_rust::xxh3::xxh3_128(&image.0[..4080]);
    image.0[4080..].copy_from_slice(&checksum.to_le_bytes());
    copies::write_copy(env, id, &image, &mut |_| Ok(())).unwrap();
}

#[test]
fn opens_with_its_credential_only() {
    let (env, made) = fresh();
    let opened = Keyring::open(&env, &pass("one")).unwrap();
    assert_eq!(opened.root, made.root);
    assert_eq!(opened.vault.epochs[0].master, made.vault.epochs[0].master);
    assert_eq!(opened.settings(), b"settings");
    assert_eq!(opened.generation(), 1);
    assert!(!opened.stale_copies);
    assert_eq!(refusal(&env, &pass("two")), ErrorKind::Authentication);
    let same_bytes = Credential::key_file(&[b'x'; 32]);
    assert_eq!(refusal(&env, &same_bytes), ErrorKind::Authentication);
}

#[test]
fn a_passphrase_does_not_open_a_key_file_slot_of_the_same_bytes() {
    let env = mem::env();
    let bytes = [b'k'; 40];
    Keyring::create(&env, STORE, &Credential::key_file(&bytes), COST, b"").unwrap();
    assert!(Keyring::open(&env, &Credential::key_file(&bytes)).is_ok());
    assert_eq!(
        refusal(&env, &Credential::passphrase(&bytes)),
        ErrorKind::Authentication
    );
}

#[test]
fn add_change_remove_list() {
    let (env, mut keyring) = fresh();
    let key_file = Credential::key_file(&[9; 64]);
    assert_eq!(keyring.add(&env, &key_file, COST).unwrap(), 1);
    assert!(Keyring::open(&env, &pass("one")).is_ok());
    let mut by_file = Keyring::open(&env, &key_file).unwrap();
    assert_eq!(by_file.opened_by(), 1);
    let kinds: Vec<_> = by_file
        .slots()
        .iter()
        .map(|slot| (slot.number, slot.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (0, CredentialKind::Passphrase),
            (1, CredentialKind::KeyFile)
        ]
    );
    assert_eq!(Keyring::inspect(&env).unwrap().slots, by_file.slots());

    by_file.change(&env, &pass("three"), COST).unwrap();
    assert_eq!(refusal(&env, &key_file), ErrorKind::Authentication);
    let mut third = Keyring::open(&env, &pass("three")).unwrap();
    third.remove(&env, 0).unwrap();
    assert_eq!(refusal(&env, &pass("one")), ErrorKind::Authentication);
    assert_eq!(
        third.remove(&env, 1).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        third.remove(&env, 7).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        third.remove(&env, 200).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(Keyring::open(&env, &pass("three")).unwrap().generation(), 4);
}

#[test]
fn slots_are_bounded() {
    let (env, mut keyring) = fresh();
    for number in 1..SLOT_COUNT {
        keyring
            .add(&env, &pass(&format!("pass {number}")), COST)
            .unwrap();
    }
    assert_eq!(
        keyring.add(&env, &pass("ninth"), COST).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(Keyring::open(&env, &pass("pass 7")).unwrap().opened_by(), 7);
}

#[test]
fn edits_wait_for_the_lock_and_for_nobody_else() {
    let (env, mut keyring) = fresh();
    let mut other = Keyring::open(&env, &pass("one")).unwrap();
    let lock = env.fs.lock().unwrap();
    assert_eq!(
        keyring.add(&env, &pass("x"), COST).unwrap_err().kind(),
        ErrorKind::Locked
    );
    drop(lock);
    keyring.add(&env, &pass("x"), COST).unwrap();
    assert_eq!(
        other.add(&env, &pass("y"), COST).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

#[test]
fn flipped_bits_are_healed_in_either_copy() {
    let (env, _) = fresh();
    for (round, id) in COPIES.into_iter().enumerate() {
        let whole = bytes_of(&env, id);
        for offset in (round..whole.len()).step_by(509) {
            let mut bytes = whole.clone();
            bytes[offset] ^= 0x10;
            overwrite(&env, id, &bytes);
            let healed = [0, 1]
                .map(|copy| [CopyState::Whole, CopyState::Healed][usize::from(copy == round)]);
            assert_eq!(scrub_copies(&env, false).unwrap(), healed, "{offset}");
            assert_eq!(scrub_copies(&env, true).unwrap(), healed, "{offset}");
            assert_eq!(bytes_of(&env, id), whole, "{offset}");
            assert_eq!(scrub_copies(&env, false).unwrap(), [CopyState::Whole; 2]);
        }
    }
}

#[test]
fn one_copy_is_enough_and_the_other_is_made_anew() {
    for lost in COPIES {
        let (env, made) = fresh();
        let whole = bytes_of(&env, lost);
        env.fs.remove(lost).unwrap();
        let mut opened = Keyring::open(&env, &pass("one")).unwrap();
        assert_eq!(opened.root, made.root);
        opened.heal(&env).unwrap();
        assert_eq!(bytes_of(&env, lost), whole);
        overwrite(&env, lost, &whole[..1000]);
        let mut opened = Keyring::open(&env, &pass("one")).unwrap();
        opened.heal(&env).unwrap();
        assert_eq!(bytes_of(&env, lost), whole);
    }
    let (env, _) = fresh();
    for id in COPIES {
        overwrite(&env, id, b"not a keyring");
    }
    assert_eq!(refusal(&env, &pass("one")), ErrorKind::Corruption);
    assert!(Keyring::inspect(&env).is_err());
    for id in COPIES {
        env.fs.remove(id).unwrap();
    }
    assert_eq!(refusal(&env, &pass("one")), ErrorKind::Corruption);
}

#[test]
fn an_older_copy_does_not_bring_a_credential_back() {
    let (env, mut keyring) = fresh();
    let old = bytes_of(&env, COPIES[1]);
    keyring.change(&env, &pass("two"), COST).unwrap();
    for id in COPIES {
        let new = bytes_of(&env, id);
        overwrite(&env, id, &old);
        assert_eq!(refusal(&env, &pass("one")), ErrorKind::Authentication);
        let mut opened = Keyring::open(&env, &pass("two")).unwrap();
        assert_eq!(opened.generation(), 2);
        opened.heal(&env).unwrap();
        assert_eq!(bytes_of(&env, id), new);
    }
}

/// What an attacker does to the bytes of a copy.
type Change = fn(&mut [u8; CONTENT_LEN]);

#[test]
fn weakened_and_altered_slots_are_named() {
    let weaken =
        |content: &mut [u8; CONTENT_LEN]| content[68..72].copy_from_slice(&1u32.to_le_bytes());
    let inflate = |content: &mut [u8; CONTENT_LEN]| content[68..72].fill(0xff);
    let more_passes = |content: &mut [u8; CONTENT_LEN]| content[72] = 2;
    let tag = |content: &mut [u8; CONTENT_LEN]| content[64 + 88] ^= 1;
    let wrapped = |content: &mut [u8; CONTENT_LEN]| content[64 + 104] ^= 1;
    let vault = |content: &mut [u8; CONTENT_LEN]| content[1700] ^= 1;
    let generation = |content: &mut [u8; CONTENT_LEN]| content[32] = 200;
    let store = |content: &mut [u8; CONTENT_LEN]| content[16] ^= 1;
    let swap = |content: &mut [u8; CONTENT_LEN]| content.copy_within(64..256, 256);
    let changes: [Change; 9] = [
        weaken,
        inflate,
        more_passes,
        tag,
        wrapped,
        vault,
        generation,
        store,
        swap,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let (env, _) = fresh();
        forge(&env, COPIES[0], change);
        let opened = Keyring::open(&env, &pass("one")).expect("the other copy is whole");
        assert_eq!(opened.generation(), 1, "change {index}");
        assert!(opened.stale_copies);
        forge(&env, COPIES[1], change);
        assert_eq!(
            refusal(&env, &pass("one")),
            ErrorKind::Authentication,
            "change {index}"
        );
    }
}

#[test]
fn a_newer_format_is_unsupported() {
    let (env, _) = fresh();
    for id in COPIES {
        forge(&env, id, |content| content[8] = 2);
    }
    assert_eq!(refusal(&env, &pass("one")), ErrorKind::Unsupported);
}

#[test]
fn a_write_that_fails_leaves_the_old_credential_working() {
    let (env, mut keyring) = fresh();
    let broken = Env {
        fs: Arc::new(ReadOnly(Arc::clone(&env.fs))),
        ..env.clone()
    };
    assert!(keyring.change(&broken, &pass("two"), COST).is_err());
    assert!(Keyring::open(&env, &pass("one")).is_ok());
    keyring.change(&env, &pass("two"), COST).unwrap();
    assert!(Keyring::open(&env, &pass("two")).is_ok());
}

/// Lets nothing be created.
struct ReadOnly(Arc<dyn coffer_engine::env::Fs>);

impl coffer_engine::env::Fs for ReadOnly {
    fn open(
        &self,
        id: coffer_engine::FileId,
        mode: OpenMode,
    ) -> Result<Arc<dyn coffer_engine::env::File>> {
        if mode == OpenMode::Read {
            self.0.open(id, mode)
        } else {
            Err(Error::no_space("full"))
        }
    }
    fn rename(&self, from: coffer_engine::FileId, to: coffer_engine::FileId) -> Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, id: coffer_engine::FileId) -> Result<()> {
        self.0.remove(id)
    }
    fn list(&self) -> Result<Vec<coffer_engine::FileId>> {
        self.0.list()
    }
    fn sync_dir(&self) -> Result<()> {
        self.0.sync_dir()
    }
    fn lock(&self) -> Result<alloc::boxed::Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn space(&self) -> Result<coffer_engine::env::Space> {
        self.0.space()
    }
}

/// Opens, and answers with the work of each key derivation that it asked for. Work above `dear` is
/// counted but not done: what comes of it opens nothing.
fn counted(env: &Env, credential: &Credential, dear: u64) -> (Result<Keyring>, Vec<u64>) {
    let mut works = Vec::new();
    let opened = Keyring::open_by(env, credential, &mut |credential, salt, cost| {
        works.push(cost.work());
        if cost.work() > dear {
            return Ok(zeroize::Zeroizing::new([0; 32]));
        }
        kdf::stretch(credential, salt, cost)
    });
    (opened, works)
}

/// Fills all slots with the first one at the highest cost, and names a generation.
fn make_costly(content: &mut [u8; CONTENT_LEN], generation: u64) {
    content[32..40].copy_from_slice(&generation.to_le_bytes());
    for at in (64..1600).step_by(192) {
        content.copy_within(64..256, at);
        content[at + 4..at + 8].copy_from_slice(&KdfCost::MEMORY_KIB_MAX.to_le_bytes());
        content[at + 8..at + 12].copy_from_slice(&KdfCost::ROUNDS_MAX.to_le_bytes());
    }
}

#[test]
fn a_costly_forged_copy_is_never_stretched_beside_a_whole_one() {
    let floor = COST.work();
    for id in COPIES {
        for generation in [0, 1, 200, u64::MAX] {
            let (env, made) = fresh();
            forge(&env, id, |content| make_costly(content, generation));
            let (opened, works) = counted(&env, &pass("one"), floor);
            assert_eq!(works, [floor], "{id}, generation {generation}");
            let mut opened = opened.unwrap();
            assert_eq!(opened.root, made.root);
            assert_eq!(opened.generation(), 1);
            opened.heal(&env).unwrap();
            assert_eq!(scrub_copies(&env, false).unwrap(), [CopyState::Whole; 2]);
            assert!(!Keyring::open(&env, &pass("one")).unwrap().stale_copies);
        }
    }
}

#[test]
fn a_cheap_forged_copy_at_most_doubles_the_work() {
    for id in COPIES {
        let env = mem::env();
        let cost = KdfCost { passes: 9, ..COST };
        Keyring::create(&env, STORE, &pass("one"), cost, b"").unwrap();
        forge(&env, id, |content| {
            make_costly(content, 200);
            for at in (64..1600).step_by(192) {
                content[at + 4..at + 8].copy_from_slice(&KdfCost::MEMORY_KIB_MIN.to_le_bytes());
                content[at + 8..at + 12].copy_from_slice(&1u32.to_le_bytes());
            }
        });
        let (opened, works) = counted(&env, &pass("one"), cost.work());
        assert_eq!(opened.unwrap().generation(), 1);
        assert!(works.iter().sum::<u64>() < 2 * cost.work(), "{works:?}");
    }
}

#[test]
fn a_newer_copy_decides_also_where_it_costs_more() {
    let dear = KdfCost { passes: 2, ..COST };
    for id in COPIES {
        let (env, mut keyring) = fresh();
        let old = bytes_of(&env, id);
        keyring.add(&env, &pass("two"), dear).unwrap();
        overwrite(&env, id, &old);
        // The old copy is cheaper and opens; the new one knows the credential as well.
        let (opened, works) = counted(&env, &pass("one"), dear.work());
        assert_eq!(opened.unwrap().generation(), 2);
        assert_eq!(works, [COST.work(); 2]);
        let opened = Keyring::open(&env, &pass("two")).unwrap();
        assert_eq!((opened.generation(), opened.opened_by()), (2, 1));

        let mut keyring = opened;
        keyring.remove(&env, 0).unwrap();
        overwrite(&env, id, &old);
        let (refused, works) = counted(&env, &pass("one"), dear.work());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Authentication);
        assert_eq!(works, [COST.work(), dear.work()]);
        assert_eq!(Keyring::open(&env, &pass("two")).unwrap().generation(), 3);
    }
}

#[test]
fn an_older_copy_is_never_stretched_beside_a_cheaper_newer_one() {
    let dear = KdfCost { passes: 2, ..COST };
    for id in COPIES {
        let env = mem::env();
        let mut keyring = Keyring::create(&env, STORE, &pass("one"), dear, b"").unwrap();
        let old = bytes_of(&env, id);
        keyring.change(&env, &pass("two"), COST).unwrap();
        overwrite(&env, id, &old);
        let (opened, works) = counted(&env, &pass("two"), dear.work());
        assert_eq!(opened.unwrap().generation(), 2);
        assert_eq!(works, [COST.work()]);
        assert_eq!(refusal(&env, &pass("one")), ErrorKind::Authentication);
    }
}
