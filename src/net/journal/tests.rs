//! The file is what is left when the node is killed: it is looked at as the next one finds it.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn key() -> NodeKey {
    NodeKey::new([7; 16])
}

fn open(path: &Path) -> (Records, Vec<(u64, Vec<u8>)>, usize) {
    let (journal, mut read) = Records::open(path, "test", key()).unwrap();
    read.records.sort();
    (journal, read.records, read.damaged)
}

fn set(id: u64, text: &str) -> Change<Vec<u8>> {
    (id, Some(text.into()))
}

#[test]
fn the_last_word_about_each_key_is_read_again_and_the_file_shows_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.journal");
    let (mut journal, read, _) = open(&path);
    assert!(read.is_empty());
    journal.write(&[set(1, "one"), set(2, "two"), set(3, "three")]).unwrap();
    journal.write(&[set(1, "another one"), (2, None), (9, None)]).unwrap();
    assert!(!std::fs::read(&path).unwrap().windows(3).any(|window| window == b"one"));
    // As after kill -9: nothing more is written.
    let (_, read, damaged) = open(&path);
    assert_eq!(read, [(1, b"another one".to_vec()), (3, b"three".to_vec())]);
    assert_eq!(damaged, 0);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_damaged_is_left_out_and_the_rest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.journal");
    let (mut journal, ..) = open(&path);
    journal.write(&[set(1, "one"), set(2, "two"), set(3, "three")]).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (_, read, damaged) = open(&path);
        assert!(read.len() < 3);
        assert!(read.iter().all(|record| [(1, b"one".to_vec()), (2, b"two".to_vec())].contains(record)));
        assert!(damaged <= 1);
    }
    for at in 0..whole.len() {
        let mut bent = whole.clone();
        bent[at] ^= 0x10;
        std::fs::write(&path, bent).unwrap();
        let (_, read, damaged) = open(&path);
        assert!(read.len() < 3 && damaged > 0, "byte {at}: {read:?}");
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(Records::open(&path, "another", key()).unwrap().1.damaged, 3);
}

#[test]
fn the_file_stays_within_twice_what_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.journal");
    let (mut journal, ..) = open(&path);
    for round in 0..2_000 {
        journal.write(&[set(round % 10, &"x".repeat(200)), (round % 10 + 1, None)]).unwrap();
    }
    assert!(std::fs::metadata(&path).unwrap().len() < SLACK + 10 * 500);
    let mut counting: Vec<u64> = journal.current.counting.keys().copied().collect();
    counting.sort_unstable();
    let (_, read, _) = open(&path);
    assert_eq!(read.iter().map(|(id, _)| *id).collect::<Vec<_>>(), counting);
}

/// Many times as much as is copied at once.
#[test]
fn a_new_file_is_made_a_piece_at_a_time_and_nothing_is_lost_on_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.journal");
    let (mut journal, ..) = open(&path);
    let (mut rng, mut model) = (StdRng::seed_from_u64(1), BTreeMap::new());
    let (mut copied, mut made, mut most) = (0, 0, 0);
    for round in 0..4_000 {
        let id = rng.random_range(0..1_000);
        let record: Option<Vec<u8>> = (!rng.random_bool(0.1)).then(|| vec![round as u8; 1_000]);
        match record.clone() {
            Some(record) => model.insert(id, record),
            None => model.remove(&id),
        };
        assert_eq!(journal.write(&[(id, record)]).unwrap(), 0);
        let so_far = journal.next.as_ref().map(|next| next.frames.bytes);
        made += u64::from(copied > 0 && so_far.is_none());
        assert!(so_far.is_none_or(|bytes| bytes <= copied + PIECE as u64 + 3_000), "round {round}");
        copied = so_far.unwrap_or(0);
        most = most.max(fs::metadata(&path).unwrap().len());
        // As after kill -9 here: the file that is being made does not count.
        if round % 50 == 0 {
            let elsewhere = dir.path().join("killed.journal");
            fs::copy(&path, &elsewhere).unwrap();
            let (_, read, damaged) = open(&elsewhere);
            assert_eq!((read, damaged), (model.clone().into_iter().collect(), 0), "round {round}");
        }
    }
    assert!(made > 0, "it was never made anew");
    assert!(most < 3 * 1_000 * 1_100, "{most} bytes");
    assert_eq!(open(&path).1, Vec::from_iter(model));
}

#[test]
fn a_full_journal_takes_what_it_knows_and_new_keys_when_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.journal");
    let (mut journal, ..) = open(&path);
    journal.most = 10_000;
    let record = "x".repeat(1_000 - HEAD - key().seal("test", b"", b"").len());
    let mut told = Vec::new();
    let mut write = |changes: &[Change<Vec<u8>>]| {
        let written = journal.write(changes);
        told.extend(journal.complaint(written));
    };
    (0..15).for_each(|id| write(&[set(id, &record)]));
    write(&[set(3, "another one")]);
    write(&[set(20, &record), set(21, &record)]);
    (5..10).for_each(|id| write(&[(id, None)]));
    write(&[set(22, &record)]);
    assert_eq!(told.len(), 1, "{told:?}");
    let (_, read, _) = open(&path);
    assert_eq!(read.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 20, 22]);
    assert_eq!(read[3].1, b"another one");
}

#[test]
fn what_was_gone_while_the_disk_failed_is_gone_when_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.journal");
    let (mut journal, ..) = open(&path);
    journal.write(&[set(1, "one"), set(2, "two")]).unwrap();
    // As good as a disk that takes nothing.
    let whole = std::mem::replace(&mut journal.current.file, File::open(&path).unwrap());
    for expected in [true, false] {
        let written = journal.write(&[(1, None), set(3, "three")]);
        assert_eq!(journal.complaint(written).is_some(), expected, "it is told once");
    }
    journal.current.file = whole;
    for text in ["four", "four again", "four for good"] {
        journal.write(&[set(4, text)]).unwrap();
    }
    assert_eq!(open(&path).1, [(2, b"two".to_vec()), (4, b"four for good".to_vec())]);
}
