use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Arguments {
    Arguments::try_parse_from(line.split(' ')).unwrap()
}

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn without_a_command_it_is_sql() {
    let arguments = parse("rainstorm --format csv -c SELECT");
    assert!(arguments.command.is_none());
    assert_eq!((arguments.sql.format, arguments.sql.texts), (Format::Csv, vec!["SELECT".into()]));
}

#[test]
fn the_cluster_may_be_said_before_the_command() {
    let read = |line: &str| Arguments::read(line.split(' ').map(OsString::from)).unwrap();
    for line in ["--data d run a.sql", "--data=d run a.sql", "run a.sql --data d"] {
        let Some(Command::Run(run)) = read(&format!("rainstorm {line}")).command else {
            panic!("{line}")
        };
        assert_eq!(run.target.data, PathBuf::from("d"), "{line}");
    }
    let Some(Command::Jobs(jobs)) = read("rainstorm --data d --master a:1 jobs").command else {
        panic!()
    };
    assert_eq!(jobs.target.master.as_deref(), Some("a:1"));
    assert_eq!(read("rainstorm --data d -c SELECT").sql.target.data, PathBuf::from("d"));
    let missing = Arguments::read(["rainstorm", "--data"].map(OsString::from));
    assert!(missing.unwrap_err().to_string().contains("--data <DIR>"));
}

#[test]
fn several_texts_keep_their_order_and_may_begin_with_a_comment() {
    let line = ["rainstorm", "sql", "-c", "SELECT 1", "-c", "-- two", "--command", "\\d"];
    let Some(Command::Sql(sql)) = Arguments::try_parse_from(line).unwrap().command else {
        panic!()
    };
    assert_eq!(sql.texts, ["SELECT 1", "-- two", "\\d"]);
}

#[test]
fn restore_takes_an_epoch_or_means_the_latest() {
    let restore = |line| match parse(line).command {
        Some(Command::Run(run)) => run.job.start.restore,
        other => panic!("{other:?}"),
    };
    assert_eq!(restore("rainstorm run a.sql"), None);
    assert_eq!(restore("rainstorm run a.sql --name a --restore"), Some(None));
    assert_eq!(restore("rainstorm run a.sql --name a --restore 7"), Some(Some(7)));
    assert_eq!(restore("rainstorm run a.sql --restore"), Some(None));
}

#[test]
fn there_is_no_epoch_0_to_restore() {
    let refused = Arguments::try_parse_from(["rainstorm", "run", "a.sql", "--restore", "0"]);
    assert!(refused.unwrap_err().to_string().contains("0 is not in 1.."));
}

#[test]
fn slots_and_workers_are_bounded() {
    for line in ["worker --master a:1 --slots 1025", "local --slots 0", "local --workers 257"] {
        let line = format!("rainstorm {line}");
        assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn variables_and_settings_are_pairs() {
    let arguments = parse("rainstorm run a.sql -D day=2001-01-01 --set a.b=c=d");
    let Some(Command::Run(run)) = arguments.command else { panic!() };
    assert_eq!(run.script.variables, [("day".into(), "2001-01-01".into())]);
    assert_eq!(run.script.settings, [("a.b".into(), "c=d".into())]);
    assert!(Arguments::try_parse_from(["rainstorm", "run", "a.sql", "-D", "day"]).is_err());
}
