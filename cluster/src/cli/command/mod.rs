//! What each command does.

mod files;
mod jobs;
mod local;
mod nexmark;
mod run;
mod serve;
mod sql;

pub(super) use files::files;
pub(super) use jobs::{cancel, jobs};
pub(super) use local::local;
pub(super) use nexmark::nexmark;
pub(super) use run::{run, submit};
pub(super) use serve::{master, worker};
pub(super) use sql::{session_request, sql};
