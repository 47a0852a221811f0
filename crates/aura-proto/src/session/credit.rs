//! Windows of flow control and of rates.
//!
//! Invariants:
//! - `left + earned + what the owner holds` of a window is its size, so the sender never gets more than that;
//! - credit is told in lumps of at least half a window, so grants cost less than one frame in eight.

use bytes::Bytes;

use super::{CONTROL_STREAM, Fault, Frame, Session, fault, grant};
use crate::{RateWindow, codes::Code, frame::FrameType, limits::LINK_WINDOW_BYTES};

/// What the other side may still send, on a stream or on the link.
#[derive(Debug)]
pub(super) struct Window {
    size: u32,
    left: u32,
    earned: u32,
}

impl Window {
    pub(super) fn new(size: u32) -> Self {
        Self {
            size,
            left: size,
            earned: 0,
        }
    }

    pub(super) fn allows(&self, bytes: u32) -> bool {
        bytes <= self.left
    }

    pub(super) fn take(&mut self, bytes: u32) {
        self.left -= bytes;
    }

    /// Adds to what can be granted; the lump to grant now, if it is worth a frame.
    fn earn(&mut self, bytes: u32) -> Option<u32> {
        self.earned += bytes;
        if self.earned < self.size / 2 {
            return None;
        }
        let lump = std::mem::take(&mut self.earned);
        self.left += lump;
        Some(lump)
    }
}

/// Counts a frame that costs work without carrying any.
pub(super) fn useless(window: &mut RateWindow, now_ms: u64) -> Result<(), Fault> {
    match window.takes(now_ms) {
        true => Ok(()),
        false => fault(Code::RATE, "too many frames without use"),
    }
}

impl Session {
    /// Gives window bytes back to the sender: to the link, and to the stream while it lives.
    pub(super) fn give_back(&mut self, id: u32, bytes: u32) {
        if id == CONTROL_STREAM || bytes == 0 || self.closed {
            return;
        }
        if let Some(lump) = self.window.earn(bytes) {
            self.push_grant(CONTROL_STREAM, 0, lump);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.receive.ended {
            return;
        }
        let class = stream.class.bits();
        if let Some(lump) = stream.receive.window.earn(bytes) {
            self.push_grant(id, class, lump);
        }
    }

    /// Gives back what an unfinished message used, or parks it while the owner lags by a whole window.
    ///
    /// A message may be longer than the window, so its fragments cannot wait for its end.
    pub(super) fn give_back_unfinished(&mut self, id: u32, bytes: u32) {
        if id == CONTROL_STREAM || bytes == 0 {
            return;
        }
        if self.owner_lags() {
            *self.parked.entry(id).or_default() += bytes;
        } else {
            self.give_back(id, bytes);
        }
    }

    pub(super) fn release_parked(&mut self) {
        if self.parked.is_empty() || self.owner_lags() {
            return;
        }
        for (id, bytes) in std::mem::take(&mut self.parked) {
            self.give_back(id, bytes);
        }
    }

    fn owner_lags(&self) -> bool {
        (LINK_WINDOW_BYTES as usize) < self.untaken
    }

    fn push_grant(&mut self, stream: u32, class: u8, bytes: u32) {
        let payload: Bytes = grant(bytes);
        self.urgent
            .push_back(Frame::new(FrameType::WINDOW, class, stream, payload));
    }
}
