//! Connectors by name: which options they take, what they can do, and how they are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::Expr;

use super::blackhole::BlackholeSink;
use super::datagen::{self, DatagenSource};
use super::filesystem::{self, FilesystemSink, FilesystemSource};
use super::nexmark::{self, NexmarkSource};
use super::print::{self, PrintSink};
use super::values::{self, ValuesSource};
use super::{ConnectorContext, Sink, SinkMode, SinkRef, Source, SourceRef, TableOptions};
use crate::graph::{ChangelogMode, SinkSpec, SinkTarget, SourceSpec};
use crate::storage::Storage;
use crate::time::SimulatedClock;
use crate::{Error, OperatorId, Result};

/// What the planner needs to know of a table's connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorInfo {
    /// Whether the table can be read.
    pub source: bool,
    /// Which changes it takes where it can be written.
    pub sink: Option<SinkMode>,
    /// Whether reading it ends.
    pub bounded: bool,
    /// Whether a lookup join may read it to its end and keep it.
    pub lookup: bool,
}

/// A connector's entry: everything about it that does not depend on a table.
struct Entry {
    name: &'static str,
    options: &'static [&'static str],
    /// What further options begin with, as in `fields.`.
    prefixes: &'static [&'static str],
    source: Option<MakeSource>,
    sink: Option<(SinkMode, MakeSink)>,
    /// Whether its source applies a filter itself.
    enforces: Option<fn(&Expr) -> bool>,
    /// Whether two tables of it may have rows in common.
    overlap: Option<fn(&Options, &Options) -> bool>,
    /// Whether its sink does something by the watermark.
    awaits_watermark: Option<fn(&Options) -> bool>,
}

type Options = BTreeMap<String, String>;
type MakeSource = fn(&SourceSpec, &ConnectorContext) -> Result<SourceRef>;
type MakeSink = fn(&SinkSpec, &ConnectorContext) -> Result<SinkRef>;

/// All connectors, in the order of their names.
const ENTRIES: &[Entry] = &[
    Entry {
        name: "blackhole",
        options: &[],
        prefixes: &[],
        source: None,
        sink: Some((SinkMode::Changelog, |_, _| Ok(Arc::new(BlackholeSink::default())))),
        enforces: None,
        overlap: None,
        awaits_watermark: None,
    },
    Entry {
        name: "datagen",
        options: datagen::OPTIONS,
        prefixes: &[datagen::FIELD_OPTIONS_PREFIX],
        source: Some(|spec, context| shared_source(DatagenSource::new(spec, context))),
        sink: None,
        enforces: None,
        overlap: None,
        awaits_watermark: None,
    },
    Entry {
        name: "filesystem",
        options: filesystem::OPTIONS,
        prefixes: filesystem::PREFIXES,
        source: Some(|spec, context| shared_source(FilesystemSource::new(spec, context))),
        sink: Some((SinkMode::Insert, |spec, context| {
            shared_sink(FilesystemSink::new(spec, context))
        })),
        enforces: None,
        overlap: Some(filesystem::overlap),
        awaits_watermark: Some(filesystem::awaits_watermark),
    },
    Entry {
        name: "nexmark",
        options: nexmark::OPTIONS,
        prefixes: &[],
        source: Some(|spec, context| shared_source(NexmarkSource::new(spec, context))),
        sink: None,
        enforces: Some(nexmark::enforces),
        overlap: None,
        awaits_watermark: None,
    },
    Entry {
        name: "print",
        options: print::OPTIONS,
        prefixes: &[],
        source: None,
        sink: Some((SinkMode::Changelog, |spec, _| {
            shared_sink(PrintSink::new(target_options(spec)?, spec.upsert_key.clone()))
        })),
        enforces: None,
        overlap: None,
        awaits_watermark: None,
    },
    Entry {
        name: "values",
        options: values::OPTIONS,
        prefixes: &[],
        source: Some(|spec, context| shared_source(ValuesSource::new(spec, context))),
        sink: None,
        enforces: None,
        overlap: None,
        awaits_watermark: None,
    },
];

fn shared_source(source: Result<impl Source + 'static>) -> Result<SourceRef> {
    source.map(|source| Arc::new(source) as SourceRef)
}

fn shared_sink(sink: Result<impl Sink + 'static>) -> Result<SinkRef> {
    sink.map(|sink| Arc::new(sink) as SinkRef)
}

/// Returns the names of all connectors.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// Tells what a table's connector can do, after checking the table's options. Does no I/O.
///
/// # Errors
/// `Invalid` where there is no such connector, or an option is unknown, missing or wrong.
pub fn describe(connector: &str, table: &TableOptions) -> Result<ConnectorInfo> {
    let entry = find(connector)?;
    check_options(entry, table)?;
    let context =
        ConnectorContext { storage: Storage::default(), clock: Arc::new(SimulatedClock::new(0)) };
    let mut info = ConnectorInfo {
        source: entry.source.is_some(),
        sink: entry.sink.map(|(mode, _)| mode),
        bounded: false,
        lookup: false,
    };
    if let Some(make) = entry.source {
        info.bounded = make(&source_spec(connector, table), &context)?.bounded();
        info.lookup = info.bounded;
    } else if let Some((_, make)) = entry.sink {
        make(&sink_spec(connector, table), &context)?;
    }
    Ok(info)
}

/// Tells whether a table's source applies `filter` itself when it gets it in
/// [`SourceSpec::filters`].
#[must_use]
pub fn enforces(connector: &str, _table: &TableOptions, filter: &Expr) -> bool {
    hook(connector, |entry| entry.enforces).is_some_and(|enforces| enforces(filter))
}

/// Tells whether a table does something by the watermark of the rows that are written into it.
#[must_use]
pub fn awaits_watermark(connector: &str, options: &BTreeMap<String, String>) -> bool {
    hook(connector, |entry| entry.awaits_watermark).is_some_and(|awaits| awaits(options))
}

/// Tells by their options whether rows that are written into one of two tables of a connector may
/// be read from the other.
#[must_use]
pub fn overlap(
    connector: &str,
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> bool {
    hook(connector, |entry| entry.overlap).is_some_and(|overlap| overlap(one, other))
}

/// Makes the source of a table.
///
/// # Errors
/// `Invalid` where the connector does not exist, cannot be read, or refuses its options.
pub fn source(spec: &SourceSpec, context: &ConnectorContext) -> Result<SourceRef> {
    let make = find(&spec.connector)?.source.ok_or_else(|| {
        let SourceSpec { table, connector, .. } = spec;
        Error::Invalid(format!(
            "table '{table}' cannot be read: connector '{connector}' only writes"
        ))
    })?;
    make(spec, context)
}

/// Makes the sink of a table.
///
/// # Errors
/// `Invalid` where the connector does not exist, cannot be written, or refuses its options.
pub fn sink(spec: &SinkSpec, context: &ConnectorContext) -> Result<SinkRef> {
    let SinkTarget::Connector { connector, .. } = &spec.target else {
        return Err(not_the_client());
    };
    let (_, make) = find(connector)?.sink.ok_or_else(|| {
        let table = &spec.table;
        Error::Invalid(format!(
            "table '{table}' cannot be written: connector '{connector}' only reads"
        ))
    })?;
    make(spec, context)
}

fn target_options(spec: &SinkSpec) -> Result<&BTreeMap<String, String>> {
    match &spec.target {
        SinkTarget::Connector { options, .. } => Ok(options),
        SinkTarget::Client => Err(not_the_client()),
    }
}

fn not_the_client() -> Error {
    Error::Internal("the client's sink is not a connector".to_owned())
}

fn find(connector: &str) -> Result<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == connector).ok_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        Error::Invalid(match suggest(connector, names()) {
            Some(name) => format!("there is no connector '{connector}'; did you mean '{name}'?"),
            None => format!("there is no connector '{connector}', only {known}"),
        })
    })
}

/// Returns what only some connectors have.
fn hook<F>(connector: &str, of: fn(&Entry) -> Option<F>) -> Option<F> {
    find(connector).ok().and_then(of)
}

fn check_options(entry: &Entry, table: &TableOptions) -> Result<()> {
    let known = |key: &str| {
        entry.options.contains(&key) || entry.prefixes.iter().any(|prefix| key.starts_with(prefix))
    };
    let Some(unknown) = table.options.keys().find(|key| !known(key)) else { return Ok(()) };
    let help = match suggest(unknown, entry.options.iter().copied()) {
        Some(name) => format!("; did you mean '{name}'?"),
        None => format!(", only {}", entry.options.join(", ")),
    };
    Err(Error::Invalid(format!("connector '{}' has no option '{unknown}'{help}", entry.name)))
}

/// Returns the candidate that is most like `name`, where one is like it at all.
pub(super) fn suggest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const ALIKE: f64 = 0.75;
    candidates
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn source_spec(connector: &str, table: &TableOptions) -> SourceSpec {
    SourceSpec {
        id: OperatorId(0),
        table: table.table.clone(),
        connector: connector.to_owned(),
        options: table.options.clone(),
        table_schema: Arc::clone(&table.table_schema),
        schema: Arc::clone(&table.table_schema),
        filters: Vec::new(),
        limit: None,
        prepare: Vec::new(),
        watermark: None,
        query: None,
    }
}

fn sink_spec(connector: &str, table: &TableOptions) -> SinkSpec {
    SinkSpec {
        id: OperatorId(0),
        table: table.table.clone(),
        target: SinkTarget::Connector {
            connector: connector.to_owned(),
            options: table.options.clone(),
            overwrite: false,
            partition_by: table.partition_by.clone(),
            primary_key: table.primary_key.clone(),
        },
        schema: Arc::clone(&table.table_schema),
        changelog: ChangelogMode::AppendOnly,
        upsert_key: None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::prelude::{col, lit};

    use super::*;

    fn table(options: &[(&str, &str)]) -> TableOptions {
        TableOptions {
            table: "t".to_owned(),
            options: options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            table_schema: Arc::new(Schema::new(vec![Field::new(
                "event_type",
                DataType::Int32,
                true,
            )])),
            partition_by: Vec::new(),
            primary_key: Vec::new(),
        }
    }

    fn refusal(connector: &str, options: &[(&str, &str)]) -> String {
        describe(connector, &table(options)).unwrap_err().to_string()
    }

    #[test]
    fn connectors_tell_what_they_can_do() {
        let files = table(&[("path", "file:///a"), ("format", "csv")]);
        assert_eq!(
            describe("filesystem", &files).unwrap(),
            ConnectorInfo {
                source: true,
                sink: Some(SinkMode::Insert),
                bounded: true,
                lookup: true
            }
        );
        let info = describe("nexmark", &table(&[])).unwrap();
        assert!(info.source && info.sink.is_none() && !info.bounded);
        assert!(describe("nexmark", &table(&[("events", "10")])).unwrap().bounded);
    }

    #[test]
    fn unknown_names_are_refused_with_a_suggestion() {
        assert_eq!(
            refusal("file-system", &[]),
            "there is no connector 'file-system'; did you mean 'filesystem'?"
        );
        assert_eq!(
            refusal("filesystem", &[("path", "file:///a"), ("format", "csv"), ("csv.heade", "no")]),
            "connector 'filesystem' has no option 'csv.heade'; did you mean 'csv.header'?"
        );
        assert!(refusal("xyz", &[]).starts_with("there is no connector 'xyz', only blackhole, "));
    }

    #[test]
    fn missing_and_wrong_options_are_refused() {
        assert_eq!(
            refusal("filesystem", &[("format", "csv")]),
            "connector 'filesystem' needs the option 'path'"
        );
        assert_eq!(
            refusal("filesystem", &[("path", "file:///a"), ("format", "xml")]),
            "option 'format' = 'xml': expected csv, json or parquet"
        );
        assert_eq!(
            refusal("filesystem", &[("path", "file:///a"), ("format", "csvv")]),
            "option 'format' = 'csvv': expected csv, json or parquet; did you mean 'csv'?"
        );
        assert!(refusal("nexmark", &[("events", "many")]).contains("'events' = 'many'"));
    }

    #[test]
    fn only_promised_filters_are_enforced() {
        let filter = col("event_type").eq(lit(2));
        assert!(enforces("nexmark", &table(&[]), &filter));
        assert!(!enforces("filesystem", &table(&[]), &filter));
        assert!(!enforces("nexmark", &table(&[]), &col("event_type").gt(lit(2))));
    }

    #[test]
    fn options_of_columns_are_known_by_their_prefix() {
        let options = [("fields.event_type.min", "1"), ("fields.event_type.max", "2")];
        assert!(!describe("datagen", &table(&options)).unwrap().bounded);
        assert!(refusal("datagen", &[("fields.other.min", "1")]).contains("fields.other.min"));
    }

    #[test]
    fn a_table_that_cannot_be_written_is_named() {
        let context = ConnectorContext {
            storage: Storage::default(),
            clock: Arc::new(SimulatedClock::new(0)),
        };
        let spec = sink_spec("nexmark", &TableOptions { options: BTreeMap::new(), ..table(&[]) });
        assert_eq!(
            sink(&spec, &context).unwrap_err().to_string(),
            "table 't' cannot be written: connector 'nexmark' only reads"
        );
    }
}
