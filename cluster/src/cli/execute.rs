//! Runs statements on a master and shows what comes back.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use arrow::array::{AsArray, Int8Array, RecordBatch};
use arrow::datatypes::{Int8Type, SchemaRef};
use arrow::ipc::reader::StreamReader;
use rainstorm_engine::connector::print;
use rainstorm_proto::client::client_client::ClientClient;
use rainstorm_proto::client::execute_event::Event;
use rainstorm_proto::client::{
    CancelJobRequest, ExecuteEvent, ExecuteRequest, Failed, JobStarted, Progress, RowsStarted,
};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::error::{CliError, why_lost};
use super::interrupt::Interrupt;
use super::output::{Format, Out, Records, RowWriter};
use super::progress::ProgressLine;
use super::reach::Reached;
use super::sql_errors;

/// The name of the column that tells whether a row is inserted or taken back.
const WEIGHT_COLUMN: &str = "__weight";

/// How statements ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All are done.
    Finished,
    /// One failed; it has been shown why.
    Failed,
    /// Ctrl-C.
    Cancelled,
    /// Nobody reads standard output any more.
    OutputClosed,
}

/// Where results and messages go.
pub(crate) struct Screen {
    format: Format,
    /// What errors call the text: its file, or `<sql>`.
    name: String,
    /// Whether messages such as `CREATE TABLE` are shown.
    verbose: bool,
    records: Records,
    out: Out,
    progress: ProgressLine,
    writer: Option<RowWriter>,
    /// The jobs that were started, in order.
    jobs: Vec<String>,
    /// The last news of each.
    news: Vec<Progress>,
    /// Those of them that can go on from their checkpoints, and whether they end by themselves.
    restorable: Vec<(String, bool)>,
    /// The command with which they do.
    go_on_with: Option<String>,
}

impl Screen {
    pub(crate) fn new(format: Format, name: &str, verbose: bool) -> Self {
        let name = name.to_owned();
        Self {
            format,
            name,
            verbose,
            records: Records::Auto,
            out: Out::default(),
            progress: ProgressLine::new(),
            writer: None,
            jobs: Vec::new(),
            news: Vec::new(),
            restorable: Vec::new(),
            go_on_with: None,
        }
    }

    /// Writes results there, as records where these are asked for.
    pub(crate) fn with(self, out: Out, records: Records) -> Self {
        Self { records, out, ..self }
    }

    /// Returns where results went.
    pub(crate) fn into_out(self) -> Out {
        self.out
    }

    /// Sets the command that goes on where jobs were stopped.
    pub(crate) fn go_on_with(&mut self, command: String) {
        self.go_on_with = Some(command);
    }

    /// Tells how to go on with what did not finish, where a checkpoint of it is kept.
    fn way_on(&self) -> String {
        let Some(command) = &self.go_on_with else { return String::new() };
        let kept = self.restorable.iter().filter_map(|(job, ends)| {
            let news = self.news.iter().find(|news| news.job_id == *job && news.epoch > 0)?;
            Some((news.epoch, job, *ends))
        });
        let kept: Vec<_> = kept.collect();
        // Of jobs that end, the one that was interrupted is the last; others run side by side.
        let last = kept.last().map(|(_, job, _)| *job);
        let goes_on = |(_, job, ends): &&(u64, &String, bool)| !ends || Some(*job) == last;
        match kept.iter().filter(goes_on).collect::<Vec<_>>().as_slice() {
            [] => String::new(),
            [(epoch, ..)] => format!("go on from checkpoint {epoch} with: {command}\n"),
            several => {
                let checkpoints = several
                    .iter()
                    .map(|(epoch, job, _)| format!("{epoch} of {job}"))
                    .collect::<Vec<_>>()
                    .join(", ");
                format!("go on from checkpoints {checkpoints} with: {command}\n")
            }
        }
    }

    /// Returns the jobs that were started, in order.
    pub(crate) fn jobs(&self) -> &[String] {
        &self.jobs
    }

    /// Returns the last news of each job that there was any of.
    pub(crate) fn news(&self) -> &[Progress] {
        &self.news
    }

    /// Tells which rows the jobs have left out.
    fn losses(&self) -> String {
        let sum = |of: fn(&Progress) -> u64| self.news.iter().map(of).sum::<u64>();
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = match sum(|news| news.skipped_rows) {
            0 => Ok(()),
            1 => writeln!(text, "warning: 1 malformed row was skipped"),
            skipped => writeln!(text, "warning: {skipped} malformed rows were skipped"),
        };
        let _ = match sum(|news| news.late_rows) {
            0 => Ok(()),
            1 => writeln!(text, "note: 1 row came too late and was dropped"),
            late => writeln!(text, "note: {late} rows came too late and were dropped"),
        };
        let _ = match sum(|news| news.untimed_rows) {
            0 => Ok(()),
            1 => writeln!(text, "note: 1 row without event time (NULL) was dropped"),
            rows => writeln!(text, "note: {rows} rows without event time (NULL) were dropped"),
        };
        text
    }
}

impl Outcome {
    /// Returns success or why there is none.
    pub(crate) fn into_result(self) -> Result<(), CliError> {
        match self {
            Self::Finished => Ok(()),
            Self::Failed => Err(CliError::Reported),
            Self::Cancelled => Err(CliError::Interrupted),
            Self::OutputClosed => Err(CliError::OutputClosed),
        }
    }
}

/// Runs `request` and shows its events until it ends or Ctrl-C is pressed.
pub(crate) async fn execute(
    reached: &mut Reached,
    request: ExecuteRequest,
    screen: &mut Screen,
    interrupt: &Interrupt,
) -> Outcome {
    let text = request.text.clone();
    let mut operation = interrupt.begin();
    let Reached { client, address, .. } = reached;
    let work = async {
        let mut events = match client.execute(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(lost(address, &status)),
        };
        follow(&mut events, address, &text, screen).await
    };
    // The master cancels what still runs when the stream of events is dropped.
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = operation.interrupted() => Ok(Outcome::Cancelled),
    };
    screen.progress.clear();
    screen.writer = None;
    screen.out.abandon();
    match outcome {
        Ok(Outcome::Cancelled) => {
            complain("cancelling\n");
            tokio::select! {
                () = cancel_jobs(client, &screen.jobs) => {}
                () = operation.interrupted_again() => {}
            }
            complain(&(screen.losses() + &screen.way_on()));
            Outcome::Cancelled
        }
        Ok(outcome) => {
            complain(&screen.losses());
            if outcome == Outcome::Failed {
                complain(&screen.way_on());
            }
            outcome
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Outcome::OutputClosed,
        Err(error) => {
            complain(&format!("error: {error}\n{}", screen.way_on()));
            Outcome::Failed
        }
    }
}

/// Returns when the jobs have stopped. One that cannot be cancelled has ended already.
async fn cancel_jobs(client: &mut ClientClient<Channel>, jobs: &[String]) {
    for job_id in jobs {
        let _ = client.cancel_job(CancelJobRequest { job_id: job_id.clone() }).await;
    }
}

fn lost(address: &str, status: &Status) -> io::Error {
    io::Error::other(format!("lost the master at {address}: {}", why_lost(status)))
}

async fn follow(
    events: &mut Streaming<ExecuteEvent>,
    address: &str,
    text: &str,
    screen: &mut Screen,
) -> io::Result<Outcome> {
    loop {
        let next = match screen.waits() {
            // Rows by which a table is laid out are shown when others are late.
            Some(patience) => {
                let next = tokio::time::timeout(patience, events.message()).await;
                let Ok(next) = next else {
                    screen.show_gathered()?;
                    continue;
                };
                next
            }
            None => events.message().await,
        };
        let event = match next {
            Ok(Some(ExecuteEvent { event: Some(event) })) => event,
            Ok(Some(ExecuteEvent { event: None })) => continue,
            Ok(None) => return Err(io::Error::other("the master ended the answer early")),
            Err(status) => return Err(lost(address, &status)),
        };
        if let Some(outcome) = screen.show(event, text)? {
            return Ok(outcome);
        }
        // Where events come faster than they are shown nothing else would have its turn, Ctrl-C
        // neither.
        tokio::task::yield_now().await;
    }
}

impl Screen {
    fn show(&mut self, event: Event, text: &str) -> io::Result<Option<Outcome>> {
        match event {
            Event::JobStarted(started) => {
                self.note_restored(&started);
                self.progress.start(&started.job_id, started.bounded);
                if started.restorable {
                    self.restorable.push((started.job_id.clone(), started.bounded));
                }
                self.jobs.push(started.job_id);
            }
            Event::Message(message) => {
                if self.verbose {
                    self.note(&message);
                }
            }
            Event::Warning(warning) => self.note(&format!("warning: {warning}")),
            Event::RowsStarted(started) => self.start_rows(started)?,
            Event::Rows(rows) => {
                self.push_rows(&rows.batches)?;
                if self.out.is_left() {
                    self.finish_rows()?;
                    return Ok(Some(Outcome::Finished));
                }
            }
            Event::RowsFinished(_) => self.finish_rows()?,
            Event::Progress(progress) => {
                self.progress.show(&progress);
                self.news.retain(|news| news.job_id != progress.job_id);
                self.news.push(progress);
            }
            Event::Finished(_) => return Ok(Some(Outcome::Finished)),
            Event::Failed(_) if print::is_unread() => return Ok(Some(Outcome::OutputClosed)),
            Event::Failed(failed) => {
                self.progress.clear();
                complain(&explain(&failed, &self.name, text));
                return Ok(Some(Outcome::Failed));
            }
        }
        Ok(None)
    }

    /// Says from which checkpoint a job goes on.
    fn note_restored(&mut self, started: &JobStarted) {
        let JobStarted { job_id, restored_epoch, had_finished, .. } = started;
        match (restored_epoch, had_finished) {
            (0, _) => {}
            (epoch, false) => self.note(&format!("job {job_id} goes on from checkpoint {epoch}")),
            (epoch, true) => {
                self.note(&format!("job {job_id} had finished with checkpoint {epoch}"));
            }
        }
    }

    fn note(&mut self, message: &str) {
        self.progress.clear();
        complain(&format!("{message}\n"));
    }

    fn start_rows(&mut self, started: RowsStarted) -> io::Result<()> {
        let (schema, _) = read_ipc(&started.schema)?;
        self.out.begin(started.bounded && self.format == Format::Table);
        let width = self.out.width();
        let writer = RowWriter::new(self.format, started, schema, width, self.records);
        self.writer = Some(writer.map_err(io::Error::other)?);
        Ok(())
    }

    fn push_rows(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let (_, batches) = read_ipc(bytes)?;
        if writer.shows_at_once() {
            self.progress.clear();
        }
        for batch in batches {
            let (rows, weights) = split_weights(batch)?;
            writer.push(rows, weights.as_ref(), &mut self.out)?;
        }
        Ok(())
    }

    /// Returns how long rows that were gathered may wait for others; `None` where there are none.
    fn waits(&self) -> Option<Duration> {
        self.writer.as_ref().and_then(RowWriter::waits)
    }

    fn show_gathered(&mut self) -> io::Result<()> {
        self.progress.clear();
        match &mut self.writer {
            Some(writer) => writer.show_gathered(&mut io::stdout().lock()),
            None => Ok(()),
        }
    }

    fn finish_rows(&mut self) -> io::Result<()> {
        self.progress.clear();
        if let Some(writer) = self.writer.take() {
            writer.finish(&mut self.out)?;
            self.out.end()?;
        }
        Ok(())
    }
}

fn read_ipc(bytes: &[u8]) -> io::Result<(SchemaRef, Vec<RecordBatch>)> {
    let reader = StreamReader::try_new(bytes, None).map_err(io::Error::other)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    Ok((schema, batches))
}

fn split_weights(batch: RecordBatch) -> io::Result<(RecordBatch, Option<Int8Array>)> {
    let last = batch.num_columns().saturating_sub(1);
    let schema = batch.schema();
    if schema.fields().last().is_none_or(|field| field.name() != WEIGHT_COLUMN) {
        return Ok((batch, None));
    }
    let weights = batch.column(last).as_primitive_opt::<Int8Type>().cloned();
    let rows = batch.project(&(0..last).collect::<Vec<_>>()).map_err(io::Error::other)?;
    Ok((rows, weights))
}

fn explain(failed: &Failed, name: &str, text: &str) -> String {
    let mut drawn = String::new();
    let width = terminal_size::terminal_size_of(io::stderr());
    let width = width.map(|(width, _)| usize::from(width.0));
    for error in &failed.sql_errors {
        drawn.push_str(&sql_errors::draw(error, name, text, width));
    }
    if failed.sql_errors.is_empty() {
        drawn = format!("error: {}\n", failed.message);
        let mut before = failed.message.as_str();
        for cause in &failed.causes {
            // Errors that pass through DataFusion say again what they wrap.
            let cause = cause.trim_start_matches("External error: ");
            if !before.ends_with(cause) {
                // Writing into a string does not fail.
                let _ = writeln!(drawn, "  caused by: {cause}");
            }
            before = cause;
        }
    }
    drawn
}

/// Writes to standard error. Where that is closed, there is nobody to tell.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_has_a_checkpoint_can_go_on() {
        let mut screen = Screen::new(Format::Table, "a.sql", false);
        screen.go_on_with("rainstorm run a.sql --restore".to_owned());
        let started = |job_id: &str, restorable| {
            let job_id = job_id.to_owned();
            Event::JobStarted(JobStarted { job_id, restorable, ..JobStarted::default() })
        };
        let news = |job_id: &str, epoch| {
            let job_id = job_id.to_owned();
            Event::Progress(Progress { job_id, epoch, ..Progress::default() })
        };
        for event in [started("query", false), news("query", 0), started("a", true), news("a", 0)] {
            screen.show(event, "").unwrap();
        }
        assert_eq!(screen.way_on(), "");
        screen.show(news("a", 4), "").unwrap();
        let told = "go on from checkpoint 4 with: rainstorm run a.sql --restore\n";
        assert_eq!(screen.way_on(), told);
        for event in [started("b", true), news("b", 7), news("a", 5)] {
            screen.show(event, "").unwrap();
        }
        let told = "go on from checkpoints 5 of a, 7 of b with: rainstorm run a.sql --restore\n";
        assert_eq!(screen.way_on(), told);
    }

    #[test]
    fn of_jobs_that_end_the_last_one_goes_on() {
        let mut screen = Screen::new(Format::Table, "a.sql", false);
        screen.go_on_with("again".to_owned());
        for (job_id, epoch) in [("a", 3), ("b", 2)] {
            let (job_id, restorable, bounded) = (job_id.to_owned(), true, true);
            let started = JobStarted { job_id, restorable, bounded, ..JobStarted::default() };
            let progress =
                Progress { job_id: started.job_id.clone(), epoch, ..Progress::default() };
            screen.show(Event::JobStarted(started), "").unwrap();
            screen.show(Event::Progress(progress), "").unwrap();
        }
        assert_eq!(screen.way_on(), "go on from checkpoint 2 with: again\n");
    }

    #[test]
    fn losses_of_all_jobs_are_added_up() {
        let mut screen = Screen::new(Format::Table, "a.sql", false);
        assert_eq!(screen.losses(), "");
        for (job_id, late_rows, skipped_rows) in [("a", 1, 0), ("a", 12, 0), ("b", 0, 1)] {
            let job_id = job_id.to_owned();
            let untimed_rows = skipped_rows;
            let news =
                Progress { job_id, late_rows, skipped_rows, untimed_rows, ..Progress::default() };
            screen.show(Event::Progress(news), "").unwrap();
        }
        assert_eq!(
            screen.losses(),
            "warning: 1 malformed row was skipped\nnote: 12 rows came too late and were dropped\n\
             note: 1 row without event time (NULL) was dropped\n"
        );
    }
}
