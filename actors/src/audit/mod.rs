//! The audit log: what was asked, by whom, and how it ended, so that nobody can change it unseen.

pub mod journal;
