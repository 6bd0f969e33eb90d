//! The graph as a whole: stages, edges, sources and sinks.

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use rainstorm_engine::graph::{
    ChangelogMode, Edge, JobGraph, JobSettings, Partitioning, SinkSpec, SinkTarget, SourceSpec,
    Stage, WatermarkSpec,
};
use rainstorm_engine::{Error, OperatorId, Result, StageId};
use rainstorm_proto::graph as proto;
use rainstorm_proto::graph::edge::Partitioning as Wire;

use super::expression::{self, Decoder};
use super::{index, indices, missing, operator, query, schema, to_wire, validate};

/// Encodes a graph for the wire.
///
/// # Errors
/// `Compute` where DataFusion has no encoding for one of the expressions.
pub fn encode_graph(graph: &JobGraph) -> Result<proto::JobGraph> {
    Ok(proto::JobGraph {
        stages: graph.stages.iter().map(encode_stage).collect::<Result<_>>()?,
        edges: graph.edges.iter().map(encode_edge).collect::<Result<_>>()?,
        settings: Some(encode_settings(&graph.settings)),
    })
}

/// Decodes a graph, with functions looked up by name in `functions`, and validates it.
///
/// # Errors
/// `Invalid` where the message holds no graph that can be run; `Compute` where DataFusion cannot
/// decode one of the expressions.
pub fn decode_graph(graph: &proto::JobGraph, functions: &TaskContext) -> Result<JobGraph> {
    let stages = graph.stages.iter().enumerate();
    let settings = graph.settings.as_ref().ok_or_else(|| missing("settings"))?;
    let graph = JobGraph {
        stages: stages
            .map(|(id, stage)| decode_stage(StageId(id as u32), stage, functions))
            .collect::<Result<_>>()?,
        edges: graph.edges.iter().map(decode_edge).collect::<Result<_>>()?,
        settings: decode_settings(settings)?,
    };
    validate::check(&graph)?;
    Ok(graph)
}

fn encode_settings(settings: &JobSettings) -> proto::Settings {
    let millis = |duration: Duration| duration.as_millis() as u64;
    proto::Settings {
        checkpoint_interval_ms: settings.checkpoint_interval.map(millis),
        idle_timeout_ms: settings.idle_timeout.map(millis),
        stays_open_ms: settings.stays_open.map(millis),
        buffer_timeout_us: settings.buffer_timeout.as_micros() as u64,
        memory_budget_bytes: settings.memory_budget_bytes as u64,
        state_ttl_ms: settings.state_ttl.map(millis),
        key_groups: settings.key_groups.into(),
    }
}

fn decode_settings(settings: &proto::Settings) -> Result<JobSettings> {
    Ok(JobSettings {
        checkpoint_interval: settings.checkpoint_interval_ms.map(Duration::from_millis),
        idle_timeout: settings.idle_timeout_ms.map(Duration::from_millis),
        stays_open: settings.stays_open_ms.map(Duration::from_millis),
        buffer_timeout: Duration::from_micros(settings.buffer_timeout_us),
        memory_budget_bytes: settings.memory_budget_bytes as usize,
        state_ttl: settings.state_ttl_ms.map(Duration::from_millis),
        key_groups: u16::try_from(settings.key_groups)
            .map_err(|_| Error::Invalid(format!("{} key groups", settings.key_groups)))?,
    })
}

fn encode_stage(stage: &Stage) -> Result<proto::Stage> {
    Ok(proto::Stage {
        parallelism: stage.parallelism as u32,
        source: stage.source.as_ref().map(encode_source).transpose()?,
        chain: operator::encode_all(&stage.chain)?,
        sink: stage.sink.as_ref().map(encode_sink).transpose()?,
    })
}

fn decode_stage(id: StageId, stage: &proto::Stage, functions: &TaskContext) -> Result<Stage> {
    let source = stage.source.as_ref();
    Ok(Stage {
        id,
        parallelism: index(stage.parallelism),
        source: source.map(|source| decode_source(source, functions)).transpose()?,
        chain: operator::decode_all(&stage.chain, functions)?,
        sink: stage.sink.as_ref().map(decode_sink).transpose()?,
    })
}

fn encode_edge(edge: &Edge) -> Result<proto::Edge> {
    let partitioning = match &edge.partitioning {
        Partitioning::Forward => Wire::Forward(proto::Empty {}),
        Partitioning::Hash(keys) => Wire::Hash(proto::Columns { indices: to_wire(keys) }),
        Partitioning::RoundRobin => Wire::RoundRobin(proto::Empty {}),
        Partitioning::Broadcast => Wire::Broadcast(proto::Empty {}),
    };
    Ok(proto::Edge {
        from: edge.from.0,
        to: edge.to.0,
        port: edge.port as u32,
        partitioning: Some(partitioning),
        schema: schema::encode_schema(&edge.schema)?,
        retracts: edge.changelog == ChangelogMode::Retract,
    })
}

fn decode_edge(edge: &proto::Edge) -> Result<Edge> {
    let partitioning =
        match edge.partitioning.as_ref().ok_or_else(|| missing("an edge's partitioning"))? {
            Wire::Forward(_) => Partitioning::Forward,
            Wire::Hash(columns) => Partitioning::Hash(indices(&columns.indices)),
            Wire::RoundRobin(_) => Partitioning::RoundRobin,
            Wire::Broadcast(_) => Partitioning::Broadcast,
        };
    Ok(Edge {
        from: StageId(edge.from),
        to: StageId(edge.to),
        port: index(edge.port),
        partitioning,
        schema: schema::decode_schema(&edge.schema)?,
        changelog: decode_changelog(edge.retracts),
    })
}

pub(super) fn decode_changelog(retracts: bool) -> ChangelogMode {
    if retracts { ChangelogMode::Retract } else { ChangelogMode::AppendOnly }
}

pub(super) fn encode_source(source: &SourceSpec) -> Result<proto::Source> {
    let watermark = source.watermark.as_ref();
    Ok(proto::Source {
        id: source.id.0,
        table: source.table.clone(),
        connector: source.connector.clone(),
        options: source.options.clone().into_iter().collect(),
        table_schema: schema::encode_schema(&source.table_schema)?,
        schema: schema::encode_schema(&source.schema)?,
        filters: expression::encode_all(&source.filters)?,
        limit: source.limit,
        prepare: operator::encode_all(&source.prepare)?,
        watermark: watermark.map(encode_watermark).transpose()?,
        query: source.query.as_deref().map(query::encode).transpose()?,
    })
}

fn encode_watermark(watermark: &WatermarkSpec) -> Result<proto::Watermark> {
    Ok(proto::Watermark {
        time: watermark.time as u32,
        expression: expression::encode(&watermark.expr)?,
    })
}

pub(super) fn decode_source(source: &proto::Source, functions: &TaskContext) -> Result<SourceSpec> {
    let columns = schema::decode_schema(&source.schema)?;
    let prepare = operator::decode_all(&source.prepare, functions)?;
    let prepared = prepare.last().map_or(&columns, |operator| &operator.output);
    let decoder = Decoder { functions, schema: prepared };
    let watermark = source.watermark.as_ref();
    let watermark = watermark.map(|watermark| decode_watermark(watermark, decoder)).transpose()?;
    let query = source.query.as_ref();
    let query = query.map(|query| query::decode(query, functions)).transpose()?;
    Ok(SourceSpec {
        id: OperatorId(source.id),
        table: source.table.clone(),
        connector: source.connector.clone(),
        options: source.options.clone().into_iter().collect(),
        table_schema: schema::decode_schema(&source.table_schema)?,
        filters: Decoder { functions, schema: &columns }.all(&source.filters)?,
        limit: source.limit,
        watermark,
        prepare,
        schema: columns,
        query: query.map(Arc::new),
    })
}

fn decode_watermark(watermark: &proto::Watermark, decoder: Decoder<'_>) -> Result<WatermarkSpec> {
    Ok(WatermarkSpec {
        time: index(watermark.time),
        expr: decoder.expression(&watermark.expression)?,
    })
}

fn encode_sink(sink: &SinkSpec) -> Result<proto::Sink> {
    let target = match &sink.target {
        SinkTarget::Client => None,
        SinkTarget::Connector { connector, options, overwrite, partition_by, primary_key } => {
            Some(proto::sink::Table {
                connector: connector.clone(),
                options: options.clone().into_iter().collect(),
                overwrite: *overwrite,
                partition_by: to_wire(partition_by),
                primary_key: to_wire(primary_key),
            })
        }
    };
    Ok(proto::Sink {
        id: sink.id.0,
        table: sink.table.clone(),
        target,
        schema: schema::encode_schema(&sink.schema)?,
        retracts: sink.changelog == ChangelogMode::Retract,
        upsert_key: sink
            .upsert_key
            .as_ref()
            .map(|key| proto::sink::UpsertKey { columns: to_wire(key) }),
    })
}

fn decode_sink(sink: &proto::Sink) -> Result<SinkSpec> {
    let target = match &sink.target {
        None => SinkTarget::Client,
        Some(table) => SinkTarget::Connector {
            connector: table.connector.clone(),
            options: table.options.clone().into_iter().collect(),
            overwrite: table.overwrite,
            partition_by: indices(&table.partition_by),
            primary_key: indices(&table.primary_key),
        },
    };
    Ok(SinkSpec {
        id: OperatorId(sink.id),
        table: sink.table.clone(),
        target,
        schema: schema::decode_schema(&sink.schema)?,
        changelog: decode_changelog(sink.retracts),
        upsert_key: sink.upsert_key.as_ref().map(|key| indices(&key.columns)),
    })
}
