//! Settings of Flink's that nothing here depends on, and those that would have to be obeyed.

use super::InvalidSetting;

/// A setting of Flink's.
struct FlinkKey {
    /// The key; what begins with it and a dot is meant too.
    name: &'static str,
    /// The values that make no difference; empty: all.
    takes: &'static [&'static str],
    /// Why they do not, or what is to be done where no value is taken.
    why: &'static str,
    /// Why other values are refused.
    otherwise: &'static str,
}

const fn any(name: &'static str, why: &'static str) -> FlinkKey {
    FlinkKey { name, takes: &[], why, otherwise: "" }
}

const fn only(
    name: &'static str,
    takes: &'static [&'static str],
    why: &'static str,
    otherwise: &'static str,
) -> FlinkKey {
    FlinkKey { name, takes, why, otherwise }
}

const CHECKPOINTS: &str = "checkpoints are aligned, one at a time, in the cluster's files";
const GATHERED: &str = "changes are gathered while rows come, see 'execution.buffer-timeout'";
const STATE: &str = "state is in memory, and its checkpoints are in the cluster's files";
const OPERATORS: &str = "operators have no such choice";
const PROCESSES: &str = "the cluster's processes have options of their own";
const SHOWN: &str = "--format says how rows are shown";
const RESTORED: &str = "it is not supported: give --restore where the job is started";
const FAILED: &str = "a failed job ends; --restore goes on from its last checkpoint";
const EARLY: &str = "windows give their rows once, when they are over";

/// Settings of Flink's. Of those that stand within others, the longer key comes first.
static KEYS: &[FlinkKey] = &[
    only("execution.attached", &["true"], "a script waits for its queries", "use submit"),
    any("execution.checkpointing.aligned-checkpoint-timeout", CHECKPOINTS),
    any("execution.checkpointing.checkpoints-after-tasks-finish", CHECKPOINTS),
    any("execution.checkpointing.dir", CHECKPOINTS),
    any("execution.checkpointing.externalized-checkpoint-retention", CHECKPOINTS),
    any("execution.checkpointing.file-merging", CHECKPOINTS),
    any("execution.checkpointing.incremental", CHECKPOINTS),
    any("execution.checkpointing.max-concurrent-checkpoints", CHECKPOINTS),
    any("execution.checkpointing.min-pause", CHECKPOINTS),
    only(
        "execution.checkpointing.mode",
        &["EXACTLY_ONCE", "AT_LEAST_ONCE"],
        "every row counts exactly once",
        "it is EXACTLY_ONCE or AT_LEAST_ONCE",
    ),
    any("execution.checkpointing.num-retained", CHECKPOINTS),
    any("execution.checkpointing.savepoint-dir", CHECKPOINTS),
    any("execution.checkpointing.storage", CHECKPOINTS),
    any("execution.checkpointing.timeout", CHECKPOINTS),
    any("execution.checkpointing.tolerable-failed-checkpoints", CHECKPOINTS),
    any("execution.checkpointing.unaligned", CHECKPOINTS),
    only("execution.savepoint.path", &[""], "nothing is restored", RESTORED),
    any("execution.shutdown-on-attached-exit", PROCESSES),
    only("execution.state-recovery.path", &[""], "nothing is restored", RESTORED),
    only("execution.target", &["local", "remote"], PROCESSES, "there is one kind of cluster"),
    any("jobmanager", PROCESSES),
    any("pipeline.auto-watermark-interval", "watermarks come with the rows"),
    any("pipeline.object-reuse", "rows are never copied one by one"),
    any("pipeline.operator-chaining", OPERATORS),
    any("restart-strategy", FAILED),
    any("sql-client.display", SHOWN),
    any("sql-client.execution.max-table-result.rows", SHOWN),
    any("sql-client.execution.result-mode", SHOWN),
    any("sql-client.verbose", "errors are always told in full"),
    any("state.backend", STATE),
    any("state.checkpoint-storage", STATE),
    any("state.checkpoints", STATE),
    any("state.savepoints", STATE),
    any("table.display", SHOWN),
    any("table.dml-sync", "a query waits for the INSERTs before it that end"),
    any("table.exec.async-lookup", OPERATORS),
    any("table.exec.async-scalar", OPERATORS),
    any("table.exec.deduplicate", GATHERED),
    only(
        "table.exec.emit.allow-lateness",
        &["0", "0 ms", "0 s"],
        EARLY,
        "rows that come too late are dropped",
    ),
    only("table.exec.emit.early-fire.enabled", &["false"], EARLY, EARLY),
    only("table.exec.emit.late-fire.enabled", &["false"], EARLY, EARLY),
    only(
        "table.exec.legacy-cast-behaviour",
        &["DISABLED"],
        "a CAST that is not possible fails",
        "a CAST that is not possible fails: TRY_CAST gives NULL",
    ),
    any("table.exec.local-hash-agg", OPERATORS),
    any("table.exec.mini-batch", GATHERED),
    any("table.exec.operator-fusion-codegen", OPERATORS),
    any("table.exec.rank.topn-cache-size", OPERATORS),
    any("table.exec.simplify-operator-name-enabled", OPERATORS),
    only(
        "table.exec.sink.not-null-enforcer",
        &["ERROR"],
        "NULL in a NOT NULL column fails the INSERT",
        "rows are never dropped for a NULL: write WHERE … IS NOT NULL",
    ),
    only(
        "table.exec.sink.type-length-enforcer",
        &["IGNORE"],
        "texts are written as they are",
        "texts are written as they are: write CAST(… AS VARCHAR(n))",
    ),
    any("table.exec.sink.upsert-materialize", "changes of a key stay in their order"),
    only(
        "table.exec.sort.default-limit",
        &["-1"],
        "all rows are sorted",
        "write LIMIT into the query",
    ),
    any("table.exec.spill-compression", OPERATORS),
    any("table.exec.uid", "operators find their state by what they do"),
    any("table.exec.window-agg.buffer-size-limit", OPERATORS),
    any("table.generated-code", OPERATORS),
    any("table.optimizer", "there is one way to plan a query"),
    only("table.plan.compile.catalog-objects", &["ALL"], OPERATORS, OPERATORS),
    only("table.sql-dialect", &["default"], "it is the only one", "the only dialect is default"),
    any("taskmanager", PROCESSES),
];

/// Says what a setting of Flink's makes of a value, `None` where Flink has no such setting or it
/// is one here.
pub(super) fn accept(key: &str, value: &str) -> Option<Result<String, InvalidSetting>> {
    let FlinkKey { takes, why, otherwise, .. } = find(key)?;
    let is_taken = |known: &&str| known.eq_ignore_ascii_case(&value.trim().replace('-', "_"));
    if takes.is_empty() || takes.contains(&value.trim()) || takes.iter().any(is_taken) {
        return Some(Ok(format!("{key} makes no difference: {why}")));
    }
    let message = format!("setting '{key}' = '{value}' is not supported");
    Some(Err(InvalidSetting { message, help: Some((*otherwise).to_owned()) }))
}

/// Tells whether a key is one of Flink's that makes no difference.
pub(super) fn is_known(key: &str) -> bool {
    find(key).is_some()
}

fn find(key: &str) -> Option<&'static FlinkKey> {
    let key = key.to_lowercase();
    KEYS.iter().find(|known| {
        key.strip_prefix(known.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[track_caller]
    fn check(key: &str, value: &str, expected: Result<&str, &str>) {
        let mut settings = Settings::default();
        let found = settings
            .set(key, value)
            .map_err(|error| format!("{} ({})", error.message, error.help.unwrap_or_default()));
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
        assert_eq!(settings, Settings::default(), "nothing is set");
    }

    #[test]
    fn what_makes_no_difference_says_why() {
        for (key, value, why) in [
            ("execution.checkpointing.mode", "EXACTLY_ONCE", "every row counts exactly once"),
            ("execution.checkpointing.mode", "at-least-once", "every row counts exactly once"),
            ("Table.Exec.Mini-Batch.Enabled", "true", GATHERED),
            ("table.optimizer.agg-phase-strategy", "TWO_PHASE", "there is one way to plan a query"),
            ("restart-strategy", "fixed-delay", FAILED),
            ("restart-strategy.fixed-delay.attempts", "3", FAILED),
            ("state.backend.type", "rocksdb", STATE),
            (
                "table.exec.sink.not-null-enforcer",
                "error",
                "NULL in a NOT NULL column fails the INSERT",
            ),
        ] {
            check(key, value, Ok(&format!("{key} makes no difference: {why}")));
        }
    }

    #[test]
    fn what_would_give_other_rows_is_refused_by_name() {
        check(
            "table.exec.sink.not-null-enforcer",
            "DROP",
            Err("setting 'table.exec.sink.not-null-enforcer' = 'DROP' is not supported \
                 (rows are never dropped for a NULL: write WHERE … IS NOT NULL)"),
        );
        check(
            "execution.checkpointing.mode",
            "NEVER",
            Err("setting 'execution.checkpointing.mode' = 'NEVER' is not supported \
                 (it is EXACTLY_ONCE or AT_LEAST_ONCE)"),
        );
    }

    #[test]
    fn mistyped_keys_of_our_own_are_not_taken_for_flinks() {
        for (key, meant) in [
            ("execution.checkpointing.intervall", "execution.checkpointing.interval"),
            ("table.exec.state.tll", "table.exec.state.ttl"),
            ("state.memory-budgets", "state.memory-budget"),
        ] {
            let error = Settings::default().set(key, "1").unwrap_err();
            assert_eq!(error.help, Some(format!("did you mean '{meant}'?")));
        }
    }

    #[test]
    fn keys_are_sorted_and_none_is_hidden_by_another() {
        for pair in KEYS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{}", pair[1].name);
        }
        for key in KEYS {
            assert!(std::ptr::eq(find(key.name).expect("is found"), key), "{}", key.name);
        }
    }
}
