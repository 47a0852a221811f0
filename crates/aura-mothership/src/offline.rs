//! What can be asked of a state directory while no Mothership runs on it, or beside one that does.
//!
//! Invariant: nothing here writes.

use std::path::Path;

use aura_api::{AdminCall, Exit, Failure, docs};
use aura_engine::hub::record::{Record, describe};
use aura_proto::Entry;
use aura_store::{
    RealDisk, VerifyError,
    verify::{verify, verify_with},
};
use aura_trust::verify_entry;
use bytes::Bytes;
use serde_json::Value;

use crate::bridge::rfc3339;

/// Checks every record, chain and author signature of the log; safe beside a live server.
pub fn wal_verify(state_dir: &Path) -> Result<docs::WalVerify, Failure> {
    let mut entries = 0;
    let mut bad = None;
    let report = verify_with(&RealDisk, &state_dir.join("wal"), |record| {
        if record.payload.is_empty() || bad.is_some() {
            return;
        }
        match Record::decode(&Bytes::copy_from_slice(record.payload)) {
            Ok(Record::Entry { entry, .. }) => {
                entries += 1;
                if !is_signed(entry) {
                    bad = Some((record.lsn, "an author signature does not verify".to_owned()));
                }
            }
            Ok(Record::Fact(_)) => {}
            Err(error) => bad = Some((record.lsn, error.to_string())),
        }
    })
    .map_err(|error| verify_failure(&error))?;
    if let Some((lsn, why)) = bad {
        let message = format!("record {lsn} of the log: {why}");
        return Err(Failure::new("AE-WAL-CORRUPT", Exit::INTEGRITY, message));
    }
    Ok(docs::WalVerify {
        schema: docs::WalVerify::SCHEMA.to_owned(),
        ok: true,
        records: report.records,
        entries,
        torn_tail_bytes: report.torn_bytes,
        head: hex(&report.head),
    })
}

/// Answers what can be answered from the directory alone.
pub fn read_only(state_dir: &Path, call: AdminCall) -> Result<Value, Failure> {
    match call {
        AdminCall::WalTail { limit } | AdminCall::Log { limit } => {
            let tail = tail(&state_dir.join("wal"), limit)?;
            Ok(serde_json::to_value(tail).unwrap_or(Value::Null))
        }
        AdminCall::WalStat => {
            let report = verify(&RealDisk, &state_dir.join("wal"))
                .map_err(|error| verify_failure(&error))?;
            let doc = docs::WalStat {
                schema: docs::WalStat::SCHEMA.to_owned(),
                segments: report.segments as u64,
                records: report.records,
                durable: report.records,
                bytes: 0,
                epoch: report.epoch,
            };
            Ok(serde_json::to_value(doc).unwrap_or(Value::Null))
        }
        _ => Err(Failure::new(
            "AE-NO-MOTHERSHIP",
            Exit::NO_DAEMON,
            "no mothership runs on this directory",
        )
        .next("mothership serve", "start it")),
    }
}

/// The newest records of a log; safe beside its writer.
pub(crate) fn tail(wal_dir: &Path, limit: usize) -> Result<docs::WalTail, Failure> {
    let mut records = Vec::new();
    verify_with(&RealDisk, wal_dir, |record| {
        records.push(row(record.lsn, record.payload))
    })
    .map_err(|error| verify_failure(&error))?;
    let skip = records.len().saturating_sub(limit);
    let records = records.split_off(skip);
    Ok(docs::WalTail {
        schema: docs::WalTail::SCHEMA.to_owned(),
        records,
    })
}

/// One record as people read it.
fn row(lsn: u64, payload: &[u8]) -> docs::WalRecordDoc {
    if payload.is_empty() {
        let text = "the log was opened".to_owned();
        return docs::WalRecordDoc {
            lsn,
            kind: "boot".to_owned(),
            at: None,
            text,
        };
    }
    match Record::decode(&Bytes::copy_from_slice(payload)) {
        Ok(record) => {
            let (kind, at_ms, text) = describe(&record);
            docs::WalRecordDoc {
                lsn,
                kind: kind.to_owned(),
                at: at_ms.map(rfc3339),
                text,
            }
        }
        Err(error) => docs::WalRecordDoc {
            lsn,
            kind: "unreadable".to_owned(),
            at: None,
            text: error.to_string(),
        },
    }
}

fn is_signed(entry: Entry) -> bool {
    verify_entry(entry).is_ok()
}

fn verify_failure(error: &VerifyError) -> Failure {
    match error {
        VerifyError::Corrupt(corruption) => {
            Failure::new("AE-WAL-CORRUPT", Exit::INTEGRITY, corruption.to_string()).next(
                "mothership backup restore FILE",
                "or repair from the peers' copies",
            )
        }
        _ => Failure::new("AE-STORAGE", Exit::STORAGE, error.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
