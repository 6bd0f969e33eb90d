//! What each command does.

mod files;
mod jobs;
mod run;
mod sql;

pub(super) use files::files;
pub(super) use jobs::{cancel, jobs};
pub(super) use run::{run, submit};
pub(super) use sql::{session_request, sql};
