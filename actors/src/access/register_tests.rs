//! Orders and what becomes of them, without a disk.
#![allow(clippy::unwrap_used)]

use super::super::{Directory, HashKey};
use super::*;
use crate::access::{Names, Standing};

const NOW: u64 = 1_800_000_000;

fn names(list: &[&str]) -> Option<Names> {
    Some(Names::of(list.iter().map(|name| (*name).to_owned())))
}

fn order(kind: Kind, id: &str, act: Act) -> Order {
    Order { kind, id: id.to_owned(), act, within: None, now_s: NOW }
}

fn key_of(team: &str) -> Act {
    Act::Create(Wish { team: Some(team.into()), ..Wish::default() })
}

/// A directory with team `search`, which may use `fast` and `smart`, and its key `ci`; and the value of that.
fn with_a_key() -> (Directory, String) {
    let mut directory = Directory::in_memory();
    let team = Wish { models: names(&["fast", "smart"]), ..Wish::default() };
    directory.order(&order(Kind::Team, "search", Act::Create(team))).unwrap();
    let done = directory.order(&order(Kind::Key, "ci", key_of("search"))).unwrap();
    (directory, done.value.unwrap().expose().to_owned())
}

fn lets_in(directory: &Directory, value: &str) -> bool {
    directory.roster().find(value, NOW).is_some()
}

#[test]
fn a_new_key_lets_in_at_once_and_a_revoked_one_never_again() {
    let (mut directory, value) = with_a_key();

    assert!(lets_in(&directory, &value) && !lets_in(&directory, &value[..value.len() - 1]));
    let done = directory.order(&order(Kind::Key, "ci", Act::Revoke)).unwrap();

    assert!(!lets_in(&directory, &value));
    assert!(matches!(done.holder, Holder::Key(key) if key.standing(NOW) == Standing::Revoked));
    for act in [Act::Enable, Act::Rotate { overlap_s: 0 }, Act::Update(Wish::default())] {
        let denied = directory.order(&order(Kind::Key, "ci", act)).unwrap_err();
        assert!(matches!(denied, Denied::Conflict(_)), "{denied}");
    }
    assert!(!lets_in(&directory, &value));
}

#[test]
fn a_disabled_key_is_refused_until_it_is_enabled() {
    let (mut directory, value) = with_a_key();

    directory.order(&order(Kind::Key, "ci", Act::Disable)).unwrap();
    assert!(!lets_in(&directory, &value));
    directory.order(&order(Kind::Key, "ci", Act::Enable)).unwrap();

    assert!(lets_in(&directory, &value));
}

#[test]
fn both_values_are_good_while_a_rotation_overlaps_and_the_old_one_ends_by_itself() {
    let (mut directory, old) = with_a_key();

    let new = directory.order(&order(Kind::Key, "ci", Act::Rotate { overlap_s: 60 })).unwrap().value.unwrap();
    let at = |value: &str, after: u64| directory.roster().find(value, NOW + after).is_some();

    assert!(at(&old, 0) && at(&old, 59) && !at(&old, 60));
    assert!(at(new.expose(), 0) && at(new.expose(), 1_000_000));

    let newest = directory.order(&order(Kind::Key, "ci", Act::Rotate { overlap_s: 0 })).unwrap().value.unwrap();
    assert!(!lets_in(&directory, new.expose()) && !lets_in(&directory, &old) && lets_in(&directory, newest.expose()));
}

#[test]
fn a_key_ends_when_it_expires() {
    let (mut directory, value) = with_a_key();
    let wish = Wish { expires: Some(Some(NOW + 10)), ..Wish::default() };

    directory.order(&order(Kind::Key, "ci", Act::Update(wish))).unwrap();

    assert!(directory.roster().find(&value, NOW + 9).is_some() && directory.roster().find(&value, NOW + 10).is_none());
}

#[test]
fn a_key_is_refused_more_than_its_team_has_and_loses_what_the_team_loses() {
    let (mut directory, value) = with_a_key();
    let may = |directory: &Directory, model: &str| {
        directory.roster().find(&value, NOW).is_some_and(|identity| identity.scope.models.allow(model))
    };
    let wider = Wish { models: names(&["fast", "dear"]), ..Wish::default() };

    let denied = directory.order(&order(Kind::Key, "ci", Act::Update(wider))).unwrap_err();
    assert!(denied.to_string().contains("team `search` may use (models: dear)"), "{denied}");
    assert!(may(&directory, "smart") && !may(&directory, "dear"));

    let narrower = Wish { models: names(&["fast"]), ..Wish::default() };
    directory.order(&order(Kind::Team, "search", Act::Update(narrower))).unwrap();
    assert!(may(&directory, "fast") && !may(&directory, "smart"));
}

#[test]
fn what_an_organisation_forbids_holds_for_its_teams_keys() {
    let (mut directory, value) = with_a_key();
    let org = Wish { providers: names(&["local"]), ..Wish::default() };
    directory.order(&order(Kind::Org, "acme", Act::Create(org))).unwrap();
    let join = Wish { org: Some(Some("acme".into())), ..Wish::default() };

    directory.order(&order(Kind::Team, "search", Act::Update(join))).unwrap();
    let providers = || directory.roster().find(&value, NOW).unwrap().scope.providers.clone();

    assert!(providers().allow("local") && !providers().allow("openai"));
    let denied = directory.order(&order(Kind::Org, "acme", Act::Delete)).unwrap_err();
    assert!(denied.to_string().contains("still has 1 teams"), "{denied}");
}

#[test]
fn what_a_file_defines_is_its_own_and_wins() {
    let (mut directory, value) = with_a_key();
    let mut files = Holders::default();
    let Holder::Key(mut key) = directory.order(&order(Kind::Key, "ci", Act::Enable)).unwrap().holder else { panic!() };
    key.owner = Owner::File("bursar.toml:3:1".to_owned());
    key.secrets = vec![KeySecret { hash: *blake3::hash(b"of the file").as_bytes(), until: None }];
    files.keys.insert("ci".to_owned(), key);

    let warnings = directory.take_files(files);
    let denied = directory.order(&order(Kind::Key, "ci", Act::Revoke)).unwrap_err();
    let taken = directory.order(&order(Kind::Key, "ci", key_of("search"))).unwrap_err();

    assert!(warnings[0].contains("bursar.toml:3:1") && warnings[0].contains("admin API"), "{warnings:?}");
    assert!(denied.to_string().contains("bursar.toml:3:1"), "{denied}");
    assert!(matches!(taken, Denied::Taken(..)), "{taken}");
    assert!(lets_in(&directory, "of the file") && !lets_in(&directory, &value));
    directory.take_files(Holders::default());
    assert!(lets_in(&directory, &value) && !lets_in(&directory, "of the file"));
}

#[test]
fn a_teams_admin_sees_and_changes_its_own_keys_only() {
    let (mut directory, value) = with_a_key();
    let within = |team: &str, kind, id: &str, act| Order { within: Some(team.into()), ..order(kind, id, act) };
    directory.order(&order(Kind::Team, "other", Act::Create(Wish::default()))).unwrap();

    for denied in [
        directory.order(&within("other", Kind::Key, "ci", Act::Revoke)).unwrap_err(),
        directory.order(&within("other", Kind::Key, "mine", key_of("search"))).unwrap_err(),
        directory.order(&within("search", Kind::Team, "search", Act::Delete)).unwrap_err(),
        directory.order(&within("search", Kind::Org, "acme", Act::Create(Wish::default()))).unwrap_err(),
    ] {
        assert!(matches!(denied, Denied::NotFound(..)), "{denied}");
    }
    assert!(lets_in(&directory, &value));
    directory.order(&within("search", Kind::Key, "ci", Act::Revoke)).unwrap();
    assert!(!lets_in(&directory, &value));
}

#[test]
fn a_key_without_a_team_brings_the_default_team_along() {
    let mut directory = Directory::in_memory();

    let done = directory.order(&order(Kind::Key, "", Act::Create(Wish::default()))).unwrap();
    let value = done.value.unwrap();

    assert!(matches!(done.holder, Holder::Key(key) if key.id == format!("key_{}", value.public)));
    assert_eq!(directory.roster().find(value.expose(), NOW).unwrap().team.as_str(), DEFAULT_TEAM);
    assert_eq!(directory.roster().keys(), 1);
}

#[test]
fn what_is_on_the_disk_is_there_again_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::open(folder.path()).unwrap();
    let value = directory.order(&order(Kind::Key, "ci", Act::Create(Wish::default()))).unwrap().value.unwrap();
    let gone = directory.order(&order(Kind::Key, "old", Act::Create(Wish::default()))).unwrap().value.unwrap();
    directory.order(&order(Kind::Key, "old", Act::Delete)).unwrap();
    drop(directory);

    let mut again = Directory::open(folder.path()).unwrap();
    again.take_files(Holders::default());

    assert!(lets_in(&again, value.expose()) && !lets_in(&again, gone.expose()));
    drop(again);
    std::fs::remove_file(folder.path().join("directory/hash.key")).unwrap();
    assert!(Directory::open(folder.path()).err().unwrap().contains("hash.key is missing"));
}

#[test]
fn the_hash_of_a_key_depends_on_the_directory() {
    let (one, other) = (HashKey::new([1; 32]), HashKey::new([2; 32]));

    assert_ne!(one.hash("sk-bursar-x"), other.hash("sk-bursar-x"));
    assert_eq!(format!("{one:?}"), "…");
}
