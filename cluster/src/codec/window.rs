//! Windows.

use rainstorm_engine::Result;
use rainstorm_engine::graph::{Window, WindowSpec};
use rainstorm_proto::graph as proto;
use rainstorm_proto::graph::window::Kind;
use rainstorm_proto::graph::window_spec::{Attached, EventTime, Spec};

use super::{index, missing};

fn encode_window(window: &Window) -> proto::Window {
    let (kind, size_ms, step_ms, offset_ms) = match *window {
        Window::Tumble { size_ms, offset_ms } => (Kind::Tumble, size_ms, size_ms, offset_ms),
        Window::Hop { size_ms, slide_ms, offset_ms } => (Kind::Hop, size_ms, slide_ms, offset_ms),
        Window::Cumulate { size_ms, step_ms, offset_ms } => {
            (Kind::Cumulate, size_ms, step_ms, offset_ms)
        }
    };
    proto::Window { kind: kind.into(), size_ms, step_ms, offset_ms }
}

fn decode_window(window: Option<&proto::Window>) -> Result<Window> {
    let window = window.ok_or_else(|| missing("a window"))?;
    let proto::Window { size_ms, step_ms, offset_ms, .. } = *window;
    match window.kind() {
        Kind::Unspecified => Err(missing("a kind of window")),
        Kind::Tumble => Ok(Window::Tumble { size_ms, offset_ms }),
        Kind::Hop => Ok(Window::Hop { size_ms, slide_ms: step_ms, offset_ms }),
        Kind::Cumulate => Ok(Window::Cumulate { size_ms, step_ms, offset_ms }),
    }
}

pub(super) fn encode(window: &WindowSpec) -> proto::WindowSpec {
    let spec = match window {
        WindowSpec::EventTime { window, time } => {
            Spec::EventTime(EventTime { window: Some(encode_window(window)), time: *time as u32 })
        }
        WindowSpec::ProcessingTime { window } => Spec::ProcessingTime(encode_window(window)),
        WindowSpec::Attached { start, end } => {
            Spec::Attached(Attached { start: *start as u32, end: *end as u32 })
        }
    };
    proto::WindowSpec { spec: Some(spec) }
}

pub(super) fn decode(window: &proto::WindowSpec) -> Result<WindowSpec> {
    match window.spec.as_ref().ok_or_else(|| missing("a window's kind of time"))? {
        Spec::EventTime(EventTime { window, time }) => Ok(WindowSpec::EventTime {
            window: decode_window(window.as_ref())?,
            time: index(*time),
        }),
        Spec::ProcessingTime(window) => {
            Ok(WindowSpec::ProcessingTime { window: decode_window(Some(window))? })
        }
        Spec::Attached(Attached { start, end }) => {
            Ok(WindowSpec::Attached { start: index(*start), end: index(*end) })
        }
    }
}
