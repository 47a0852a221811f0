//! The tables of the pages against the constants and types of the code.

use std::{collections::BTreeMap, fs};

use aura_proto::{Code, frame::FrameType, limits};
use aura_trust::Purpose;

use crate::{
    bodies,
    golden::pages,
    messages,
    shapes::{Row, Shapes},
};

const PAGES: [&str; 11] = [
    "01-entry.md",
    "02-framing.md",
    "03-identity.md",
    "04-session.md",
    "05-sync.md",
    "06-patch.md",
    "07-log.md",
    "08-peers.md",
    "09-zones.md",
    "10-messages.md",
    "11-activity.md",
];

fn page(name: &str) -> String {
    fs::read_to_string(pages().join(name)).unwrap()
}

/// The rows of the tables of a page that have this header.
fn tables(page: &str, header: &str) -> Vec<Row> {
    let mut lines = page.lines();
    let mut rows = Vec::new();
    while lines.by_ref().any(|line| line == header) {
        let body = lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'));
        rows.extend(body.map(cells));
    }
    rows
}

fn cells(line: &str) -> Row {
    let inner = line.trim_matches('|');
    inner
        .split(" | ")
        .map(|cell| cell.trim().to_owned())
        .collect()
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

#[test]
fn codes_equal_the_constants() {
    let rows = tables(&page("codes.md"), "| number | name | meaning |");
    let written: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let known: Vec<(String, String)> = Code::ALL
        .iter()
        .map(|(code, name)| (code.0.to_string(), (*name).to_owned()))
        .collect();
    assert_eq!(written, known);
    assert!(
        rows.iter().all(|row| !row[2].is_empty()),
        "a code without a meaning"
    );
}

#[test]
fn limits_equal_the_constants() {
    let rows = tables(&page("limits.md"), "| name | value | that is | for |");
    let written: Vec<(String, u64)> = rows
        .iter()
        .map(|row| (row[0].clone(), row[1].replace(',', "").parse().unwrap()))
        .collect();
    let known: Vec<(String, u64)> = limits::ALL
        .iter()
        .chain(&elsewhere())
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    assert_eq!(written, known);
    for row in rows.iter().filter(|row| !row[2].is_empty()) {
        let value: u64 = row[1].replace(',', "").parse().unwrap();
        assert_eq!(worked_out(&row[2], &row[0]), value, "{}", row[0]);
    }
}

/// What the third column comes to, in the unit that the name ends in.
fn worked_out(text: &str, name: &str) -> u64 {
    let text = text.replace(',', "");
    if text.contains('×') {
        return text
            .split('×')
            .map(|factor| factor.trim().parse::<u64>().unwrap())
            .product();
    }
    let (number, unit) = text.split_once(' ').unwrap();
    let second = if name.contains("_MS") { 1_000 } else { 1 };
    let factor = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "s" => second,
        "min" => 60 * second,
        other => panic!("{other} is no unit"),
    };
    number.parse::<u64>().unwrap() * factor
}

/// Constants of one side, in the order of the page.
fn elsewhere() -> [(&'static str, u64); 22] {
    use aura_engine::{hub, peer};
    use aura_store::segment;
    use aura_trust::{USES_MAX, cert, keys, token};
    [
        (
            "DETAIL_BYTES_MAX",
            aura_proto::session::DETAIL_BYTES_MAX as u64,
        ),
        ("ENDPOINTS_MAX", token::ENDPOINTS_MAX as u64),
        ("ENDPOINT_BYTES_MAX", token::ENDPOINT_BYTES_MAX as u64),
        ("SEALED_RING_BYTES_MAX", token::SEALED_RING_BYTES_MAX as u64),
        ("TOKEN_TEXT_BYTES_MAX", token::TOKEN_TEXT_BYTES_MAX as u64),
        ("USES_MAX", USES_MAX.into()),
        ("RING_EPOCHS_MAX", keys::RING_EPOCHS_MAX as u64),
        ("DER_BYTES_MAX", cert::DER_BYTES_MAX as u64),
        ("CA_TTL_S", cert::CA_TTL_S),
        ("LOGS_MAX", hub::LOGS_MAX as u64),
        ("LOGS_PER_AUTHOR_MAX", hub::LOGS_PER_AUTHOR_MAX as u64),
        ("LIVES_MAX", hub::LIVES_MAX as u64),
        ("TOUCHED_MAX", peer::body::TOUCHED_MAX as u64),
        ("INTENT_ENTRIES_MAX", peer::body::INTENT_ENTRIES_MAX as u64),
        ("PARENTS_SUM_MAX", peer::body::PARENTS_SUM_MAX as u64),
        ("FEED_ENTRIES_MAX", hub::FEED_ENTRIES_MAX),
        ("BATCH_ENTRIES_MAX", hub::BATCH_ENTRIES_MAX as u64),
        ("BATCH_BYTES_MAX", hub::BATCH_BYTES_MAX as u64),
        ("QUEUE_MAX", hub::QUEUE_MAX as u64),
        ("OUTBOX_BYTES_MAX", peer::replica::OUTBOX_BYTES_MAX as u64),
        ("BACKOFF_MS_MAX", peer::control::BACKOFF_MS_MAX),
        ("SEGMENT_BYTES_MAX", segment::SEGMENT_BYTES_MAX),
    ]
}

#[test]
fn frame_types_equal_the_constants() {
    let rows = tables(&page("02-framing.md"), "| type | name | payload |");
    let written: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let known: Vec<(String, String)> = FrameType::ALL
        .iter()
        .map(|(kind, name)| (format!("{:#04x}", kind.0), (*name).to_owned()))
        .collect();
    assert_eq!(written, known);
}

#[test]
fn purposes_equal_the_constants() {
    let rows = tables(&page("03-identity.md"), "| purpose | parts | signed by |");
    let written: Vec<String> = rows.iter().map(|row| plain(&row[0])).collect();
    let known: Vec<String> = Purpose::ALL
        .iter()
        .map(|purpose| String::from_utf8_lossy(purpose.prefix()).replace('\0', "\\0"))
        .collect();
    assert_eq!(written, known);
}

/// The tables below `###` headings: fields with their encodings, or variants with their fields.
fn written_shapes() -> BTreeMap<String, Vec<Row>> {
    let mut shapes = BTreeMap::new();
    for text in PAGES.map(page) {
        for section in text.split("\n### `").skip(1) {
            let (name, rest) = section.split_once('`').unwrap();
            let rest = rest.split("\n## ").next().unwrap();
            let field = |row: Row| vec![plain(&row[0]), row[1].clone()];
            let variant = |row: Row| vec![row[0].clone(), plain(&row[1]), row[2].clone()];
            let fields = tables(rest, "| field | encoding | meaning |")
                .into_iter()
                .map(field);
            let variants = tables(rest, "| number | variant | fields | meaning |")
                .into_iter()
                .map(variant);
            let rows: Vec<Row> = fields.chain(variants).collect();
            assert!(!rows.is_empty(), "no table below {name}");
            assert!(
                shapes.insert(name.to_owned(), rows).is_none(),
                "{name} twice"
            );
        }
    }
    shapes
}

// spec: framing/3.6
#[test]
fn fields_and_variants_equal_the_types() {
    let mut shapes = Shapes::default();
    let nodes = messages::nodes().into_iter().chain(bodies::nodes());
    nodes.for_each(|node| shapes.note(&node));
    let (known, written) = (shapes.tables(), written_shapes());
    for (name, rows) in &known {
        assert_eq!(Some(rows), written.get(name), "{name}");
    }
    let unknown: Vec<_> = written
        .keys()
        .filter(|name| !known.contains_key(*name))
        .collect();
    assert!(unknown.is_empty(), "tables of nothing: {unknown:?}");
}
