//! The names that the prompt can complete, as last heard from the master.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::ipc::reader::StreamReader;
use arrow::util::display::array_value_to_string;
use rainstorm_proto::client::ExecuteRequest;
use rainstorm_proto::client::client_client::ClientClient;
use rainstorm_proto::client::execute_event::Event;
use tonic::transport::Channel;

/// Tables whose columns are asked for.
const TABLES_MAX: usize = 200;

/// What can be named. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<Known>>);

/// All names that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Tables and views, each with its columns.
    pub(super) tables: BTreeMap<String, Vec<String>>,
    pub(super) functions: Vec<String>,
    pub(super) settings: Vec<String>,
    /// Whether a statement may have changed them since they were heard.
    stale: bool,
}

impl Names {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a statement is run, which may define names.
    pub(super) fn may_change(&self, statement: &str) {
        let defines = ["create", "drop", "alter", "\\i"];
        let text = statement.to_lowercase();
        self.known().stale |= defines.iter().any(|word| text.contains(word));
    }

    /// Asks the master for names; where it does not answer, the old ones stay.
    pub(crate) async fn refresh(
        &self,
        client: &mut ClientClient<Channel>,
        request: ExecuteRequest,
    ) {
        let mut master = Master { client, request };
        let Some(mut tables) = master.first_column("SHOW TABLES;").await else { return };
        tables.sort_unstable();
        let before = self.known().clone();
        let is_first = before.functions.is_empty();
        if !is_first && !before.stale && before.tables.keys().eq(&tables) {
            return;
        }
        let mut known = Known::default();
        for (index, table) in tables.into_iter().enumerate() {
            let describe = format!("DESCRIBE `{}`;", table.replace('`', "``"));
            let columns =
                if index < TABLES_MAX { master.first_column(&describe).await } else { None };
            known.tables.insert(table, columns.unwrap_or_default());
        }
        let functions = master.first_column("SHOW FUNCTIONS;").await;
        known.functions = functions.unwrap_or(before.functions);
        known.settings = master.first_column("SET;").await.unwrap_or(before.settings);
        *self.known() = known;
    }

    /// Makes names for tests.
    #[cfg(test)]
    pub(super) fn of(tables: &[(&str, &[&str])], functions: &[&str], settings: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let tables = tables.iter().map(|(name, columns)| ((*name).to_owned(), owned(columns)));
        let (functions, settings) = (owned(functions), owned(settings));
        let known = Known { tables: tables.collect(), functions, settings, stale: false };
        Self(Arc::new(Mutex::new(known)))
    }
}

struct Master<'a> {
    client: &'a mut ClientClient<Channel>,
    request: ExecuteRequest,
}

impl Master<'_> {
    /// Returns the texts of a statement's first column.
    async fn first_column(&mut self, text: &str) -> Option<Vec<String>> {
        let request = ExecuteRequest { text: text.to_owned(), ..self.request.clone() };
        let mut events = self.client.execute(request).await.ok()?.into_inner();
        let mut texts = Vec::new();
        while let Ok(Some(event)) = events.message().await {
            match event.event {
                Some(Event::Rows(rows)) => texts.extend(first_column(&rows.batches)),
                Some(Event::Finished(_)) => return Some(texts),
                Some(Event::Failed(_)) => return None,
                _ => {}
            }
        }
        None
    }
}

fn first_column(batches: &[u8]) -> Vec<String> {
    let Ok(reader) = StreamReader::try_new(Cursor::new(batches), None) else { return Vec::new() };
    let batches = reader.flatten().filter(|batch| batch.num_columns() > 0);
    let texts = batches.flat_map(|batch| {
        let texts = (0..batch.num_rows()).map(|row| array_value_to_string(batch.column(0), row));
        texts.flatten().collect::<Vec<_>>()
    });
    texts.collect()
}
