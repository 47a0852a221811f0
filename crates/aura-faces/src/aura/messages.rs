//! `aura msg` and `aura inbox`: words between members.
//!
//! Invariant: every text that came from elsewhere goes through the escaper.

use aura_api::{Call, Exit, MessageCall, docs};
use clap::Subcommand;

use super::{Face, Outcome};
use crate::{
    escape::{block, line},
    output::{Paint, View},
    when,
};

/// Below `msg`.
#[derive(Subcommand)]
pub(crate) enum Msg {
    /// Tell its sender that you have taken note of a message
    #[command(before_long_help = "Example:\n  aura msg ack m-7sy5pp")]
    Ack {
        /// Its id
        id: String,
    },
    /// Read messages; without ids all that you have not read
    #[command(before_long_help = "Examples:\n  aura msg read\n  aura msg read m-7sy5pp")]
    Read {
        /// Their ids
        ids: Vec<String>,
    },
    /// Answer those who had a message
    #[command(before_long_help = "Example:\n  aura msg reply m-7sy5pp \"yes, go ahead\"")]
    Reply {
        /// Its id
        id: String,
        /// The words
        text: String,
    },
    /// Send one to members, to holders of a zone or to editors of a function
    #[command(
        before_long_help = "Examples:\n  aura msg send @bob \"moving the cap into config, ok?\" --about score\n  aura msg send @all \"release at noon\"\n  aura msg send @zone:z-4 \"done by 14:10?\"\n  aura msg send @editing:score \"I rename it now\""
    )]
    Send {
        /// @NAME, @all, @zone:ID or @editing:SYMBOL; several with commas
        #[arg(value_delimiter = ',', num_args = 1, required = true)]
        to: Vec<String>,
        /// The words
        text: String,
        /// A symbol, a conflict or a zone
        #[arg(long, value_name = "WHAT")]
        about: Option<String>,
        /// It should not wait
        #[arg(long)]
        urgent: bool,
    },
}

impl Face<'_, '_> {
    pub(super) fn inbox(&mut self, unread: bool) -> Outcome {
        self.simple(Call::Message(MessageCall::Inbox { unread }), inbox)
    }

    pub(super) fn msg(&mut self, what: Msg) -> Outcome {
        let call = match what {
            Msg::Read { ids } => {
                return self.simple(Call::Message(MessageCall::Read { ids }), inbox);
            }
            Msg::Ack { id } => MessageCall::Ack { id },
            Msg::Reply { id, text } => MessageCall::Send {
                to: Vec::new(),
                text,
                about: None,
                re: Some(id),
                urgent: false,
            },
            Msg::Send {
                to,
                text,
                about,
                urgent,
            } => MessageCall::Send {
                to,
                text,
                about,
                re: None,
                urgent,
            },
        };
        let document = self.ask(Call::Message(call))?;
        let sent = self.say(&document, |doc: &docs::Sent, _| sent(doc))?;
        let is_queued = sent.is_some_and(|doc| doc.state == "queued");
        Ok(if is_queued { Exit::PARTLY } else { Exit::DONE })
    }
}

fn whom(to: &[String]) -> String {
    match to.is_empty() {
        true => "all".to_owned(),
        false => line(&to.join(", ")),
    }
}

fn sent(doc: &docs::Sent) -> String {
    let to = whom(&doc.to);
    match doc.state.as_str() {
        "queued" => format!(
            "{} to {to}: sent as soon as the mothership is back\n",
            line(&doc.id)
        ),
        _ => format!("{} to {to}\n", line(&doc.id)),
    }
}

fn inbox(doc: &docs::Inbox, view: &View) -> String {
    if doc.messages.is_empty() {
        return "no messages\n".to_owned();
    }
    doc.messages.iter().map(|doc| message(doc, view)).collect()
}

fn message(doc: &docs::MessageDoc, view: &View) -> String {
    let id = line(&doc.id);
    let id = match doc.unread {
        true => view.paint(Paint::Warn, &id),
        false => id,
    };
    let agent = if doc.kind == "agent" { " (agent)" } else { "" };
    let mut head = format!(
        "{id} {}{agent} to {}, {}",
        line(&doc.from),
        whom(&doc.to),
        when::clock(&doc.at)
    );
    if let Some(about) = &doc.about {
        head += &format!(", about {}", line(about));
    }
    if let Some(re) = &doc.re {
        head += &format!(", re {}", line(re));
    }
    if doc.urgent {
        head += &format!(", {}", view.paint(Paint::Bad, "urgent"));
    }
    if !doc.acks.is_empty() {
        head += &format!(", noted by {}", line(&doc.acks.join(", ")));
    }
    let text = block(&doc.text).replace('\n', "\n  ");
    format!("{head}\n  {text}\n")
}
