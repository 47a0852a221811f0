//! Streams: events as they happen, and the status after each of them.
//!
//! Invariants:
//! - each line is handed to the reader at once;
//! - a stream that is cut ends with a failure, it never looks like a quiet one.

use aura_api::{Call, Exit, Reply, docs};
use serde_json::Value;

use super::{
    Face,
    args::{Status, Watch},
    calls,
    client::{self, not_understood},
    status,
};
use crate::{
    escape,
    output::{Outcome, Screen, Stop},
    when,
};

impl Face<'_, '_> {
    pub(super) fn watch(&mut self, args: Watch) -> Outcome {
        let stream = self
            .client()?
            .reach(&mut |what| self.screen.note(&calls::starting(what)))?;
        let request = self.request(Call::Watch { since: args.since })?;
        let screen = &mut *self.screen;
        client::listen(stream, &request, self.limit, &mut |reply| match reply {
            Reply::Event(event) if is_wanted(&event, &args) => line(screen, &event),
            _ => Ok(()),
        })?;
        Ok(Exit::DONE)
    }

    pub(super) fn status(&mut self, args: &Status) -> Outcome {
        self.need_identity()?;
        if args.watch {
            return self.status_again_and_again(args);
        }
        let shown = self.show_status(args)?;
        Ok(match shown {
            Some(shown) if args.exit_code => status::exit(&shown),
            _ => Exit::DONE,
        })
    }

    fn show_status(&mut self, args: &Status) -> Result<Option<docs::Status>, Stop> {
        let document = self.ask(Call::Status)?;
        let is_short = args.short;
        let shown = self.say(&document, |doc: &docs::Status, view| {
            if is_short {
                status::short(doc)
            } else {
                status::screen(doc, view)
            }
        })?;
        if let (Some(shown), false, false) = (&shown, is_short, self.screen.is_json()) {
            self.screen.next(&shown.next)?;
        }
        self.screen.flush()?;
        Ok(shown)
    }

    fn status_again_and_again(&mut self, args: &Status) -> Outcome {
        let stream = self
            .client()?
            .reach(&mut |what| self.screen.note(&calls::starting(what)))?;
        let request = self.request(Call::Watch { since: None })?;
        let mut seen = self.show_status(args)?.map_or(0, |shown| shown.seq);
        client::listen(stream, &request, self.limit, &mut |reply| {
            let Reply::Event(event) = reply else {
                return Ok(());
            };
            // One status covers every event up to its number.
            if event
                .get("seq")
                .and_then(Value::as_u64)
                .is_some_and(|seq| seq <= seen)
            {
                return Ok(());
            }
            if self.screen.is_live() {
                self.screen.text("\x1b[H\x1b[2J")?;
            }
            seen = self.show_status(args)?.map_or(seen, |shown| shown.seq);
            Ok(())
        })?;
        Ok(Exit::DONE)
    }
}

fn is_wanted(event: &Value, args: &Watch) -> bool {
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let kind = text("kind").unwrap_or_default();
    // A gap concerns everybody: something was missed.
    let kind_fits = args.kinds.is_empty() || kind == "gap" || args.kinds.iter().any(|k| k == kind);
    let symbol_fits = args.symbol.as_deref().is_none_or(|wanted| {
        text("symbol")
            .is_some_and(|symbol| symbol == wanted || symbol.ends_with(&format!("::{wanted}")))
    });
    kind_fits && symbol_fits
}

fn line(screen: &mut Screen<'_>, event: &Value) -> Result<(), Stop> {
    if screen.is_json() {
        return screen.document(event);
    }
    let Ok(event) = serde_json::from_value::<docs::Event>(event.clone()) else {
        return Err(not_understood("an event").into());
    };
    let at = when::clock(&event.at);
    let symbol = event
        .symbol
        .as_deref()
        .map(escape::line)
        .unwrap_or_default();
    let parts = [
        at,
        escape::line(&event.kind),
        symbol,
        escape::line(&event.text),
    ];
    let parts: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    screen.text(&parts.join("  "))?;
    screen.flush()
}
