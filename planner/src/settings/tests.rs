use super::*;

#[test]
fn durations_are_read_as_flink_writes_them() {
    for (text, millis) in
        [("10 s", 10_000), ("500 ms", 500), ("1min", 60_000), ("2 h", 7_200_000), ("7", 7)]
    {
        assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "-1 s", "1.5 s", "10 parsecs"] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn sizes_are_powers_of_1024() {
    assert_eq!(parse_memory("512 mb"), Some(512 << 20));
    assert_eq!(parse_memory("1GB"), Some(1 << 30));
    assert_eq!(parse_memory("4096"), Some(4096));
    assert_eq!(parse_memory("one gb"), None);
}

#[test]
fn defaults_are_the_engines() {
    assert_eq!(Settings::default().job_settings(), JobSettings::default());
    assert_eq!(Settings::default().parallelism(), None);
    assert_eq!(Settings::default().job_name(), None);
}

#[test]
fn values_reach_the_job() {
    let mut settings = Settings::default();
    settings.set("execution.checkpointing.interval", "0").unwrap();
    settings.set("table.exec.source.idle-timeout", "2 s").unwrap();
    settings.set("table.exec.source.stays-open", "1 h").unwrap();
    settings.set("state.memory-budget", "64 mb").unwrap();
    settings.set("parallelism.default", "4").unwrap();
    let job = settings.job_settings();
    assert_eq!(job.checkpoint_interval, None);
    assert_eq!(job.idle_timeout, Some(Duration::from_secs(2)));
    assert_eq!(job.stays_open, Some(Duration::from_hours(1)));
    assert_eq!(job.memory_budget_bytes, 64 << 20);
    assert_eq!(settings.parallelism(), Some(4));
    settings.reset("parallelism.default").unwrap();
    assert_eq!(settings.parallelism(), None);
}

#[test]
fn utc_has_many_names() {
    for zone in ["UTC", "utc", "Etc/UTC", "Z", "+00:00", "GMT", "GMT+00:00", "Etc/GMT-0"] {
        let set = Settings::default().set("table.local-time-zone", zone);
        assert_eq!(set, Ok(format!("table.local-time-zone set to {zone}")));
    }
    for zone in ["", "default", "CET", "Europe/Berlin", "+01:00", "Etc/GMT+1", "UTC+2", "0"] {
        let error = Settings::default().set("table.local-time-zone", zone).unwrap_err();
        assert!(error.help.is_some_and(|help| help.contains("shown in UTC")), "{zone}");
    }
}

#[test]
fn a_setting_is_known_by_flinks_other_name() {
    let mut settings = Settings::default();
    let set = settings.set("table.exec.resource.default-parallelism", "3");
    assert_eq!(set, Ok("parallelism.default set to 3".to_owned()));
    assert_eq!(settings.parallelism(), Some(3));
    let set = settings.set("table.exec.resource.default-parallelism", "-1");
    assert_eq!(
        set.as_deref(),
        Ok(
            "table.exec.resource.default-parallelism makes no difference: parallelism.default holds"
        )
    );
    settings.reset("table.exec.resource.default-parallelism").unwrap();
    assert_eq!(settings, Settings::default());
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    let error = Settings::default().set("execution.checkpoint.interval", "1 s").unwrap_err();
    assert_eq!(error.message, "there is no setting 'execution.checkpoint.interval'");
    assert_eq!(error.help.as_deref(), Some("did you mean 'execution.checkpointing.interval'?"));
    let error = Settings::default().set("zzz", "1").unwrap_err();
    assert_eq!(error.help.as_deref(), Some("SET; lists the settings"));
}

#[test]
fn a_bad_value_is_refused_with_what_is_expected() {
    let error = Settings::default().set("parallelism.default", "0").unwrap_err();
    assert_eq!(
        error.message,
        "setting 'parallelism.default' takes a number from 1 to 256, not '0'"
    );
    let error = Settings::default().set("table.local-time-zone", "CET").unwrap_err();
    assert_eq!(error.message, "setting 'table.local-time-zone' takes UTC, not 'CET'");
}
