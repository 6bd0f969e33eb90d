use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int64Array, ListBuilder, RecordBatch,
    StringViewArray, StringViewBuilder,
};
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::{Selection, decode, read};
use crate::OperatorId;
use crate::held::row_bytes;
use crate::state::{StateKind, StateTable};

fn rows(values: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let names: StringViewArray =
        values.clone().map(|value| Some(format!("the name of value {value}"))).collect();
    let kinds = values.clone().map(|value| if value % 2 == 0 { "even" } else { "odd" });
    let kinds: DictionaryArray<Int32Type> = kinds.collect();
    let values: Int64Array = values.collect();
    RecordBatch::try_from_iter([
        ("value", Arc::new(values) as ArrayRef),
        ("name", Arc::new(names)),
        ("kind", Arc::new(kinds)),
    ])
    .unwrap()
}

fn encode<'a>(
    tables: impl IntoIterator<Item = (OperatorId, &'a StateTable)>,
) -> Result<Bytes, crate::Error> {
    super::encode(tables, |_| Ok(())).map(|pieces| pieces.concat().into())
}

/// A table whose row n has value n and key group n mod 256.
fn keyed(count: i64) -> StateTable {
    StateTable {
        name: "groups".into(),
        version: 3,
        kind: StateKind::Delta,
        rows: rows(0..count),
        key_groups: Some((0..count).map(|value| (value % 256) as u16).collect()),
    }
}

fn list() -> StateTable {
    StateTable {
        name: "firing".into(),
        version: 1,
        kind: StateKind::Full,
        rows: rows(7..9),
        key_groups: None,
    }
}

const KEYED: OperatorId = OperatorId(1);
const LISTED: OperatorId = OperatorId(u64::MAX);

fn everything() -> Selection {
    let mut selection = Selection::default();
    selection.add(KEYED, 0..256);
    selection.add(LISTED, 0..1);
    selection
}

fn values(table: &StateTable) -> Vec<i64> {
    table.rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn tables_come_back_ordered_by_key_group() {
    let file = encode([(KEYED, &keyed(1000)), (LISTED, &list())]).unwrap();
    let tables = decode("a file", &file, &everything()).unwrap();
    let [(KEYED, groups), (LISTED, firing)] = tables.as_slice() else { panic!("{tables:?}") };
    assert_eq!(
        (groups.name.as_str(), groups.version, groups.kind),
        ("groups", 3, StateKind::Delta)
    );
    assert_eq!(groups.rows.schema(), keyed(1).rows.schema());
    let key_groups = groups.key_groups.clone().unwrap();
    assert!(key_groups.is_sorted());
    let expected: Vec<u16> = values(groups).iter().map(|value| (value % 256) as u16).collect();
    assert_eq!(key_groups, expected);
    let mut sorted = values(groups);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    assert_eq!((firing.kind, firing.key_groups.as_ref()), (StateKind::Full, None));
    assert_eq!(firing.rows, list().rows);
}

#[tokio::test]
async fn only_the_blocks_of_wanted_key_groups_are_read() {
    let table = keyed(300_000);
    let file = encode([(KEYED, &table), (LISTED, &list())]).unwrap();
    let (store, path) = (InMemory::new(), Path::from("jobs/flights/state/1"));
    let size = file.len() as u64;
    store.put(&path, file.into()).await.unwrap();
    let mut selection = Selection::default();
    selection.add(KEYED, 250..256);
    let tables = read(&store, &path, size, &selection).await.unwrap();
    assert_eq!(tables.len(), 1, "of five blocks the last one has key groups 250 and up");
    let table = &tables[0].1;
    let last = values(table).into_iter().filter(|value| value % 256 >= 250).count();
    assert_eq!(last, (0..300_000).filter(|value| value % 256 >= 250).count());
    let all = read(&store, &path, size, &everything()).await.unwrap();
    assert_eq!(all.iter().map(|(_, table)| table.rows.num_rows()).sum::<usize>(), 300_002);
}

#[test]
fn rows_of_long_lists_have_blocks_of_their_own_and_are_written_once() {
    let mut lists = ListBuilder::new(StringViewBuilder::new());
    for row in 0..4 {
        for value in 0..40_000 {
            lists
                .values()
                .append_value(format!("a text that is too long for a view: {row} {value}"));
        }
        lists.append(true);
    }
    let rows = RecordBatch::try_from_iter([("all", Arc::new(lists.finish()) as ArrayRef)]).unwrap();
    let bytes = row_bytes(&rows);
    for key_groups in [vec![1, 2, 3, 4], vec![4, 3, 2, 1]] {
        let table = StateTable { rows: rows.clone(), key_groups: Some(key_groups), ..keyed(0) };
        let file = encode([(KEYED, &table)]).unwrap();
        assert!(file.len() < bytes, "{} bytes of {bytes}", file.len());
        let tables = decode("a file", &file, &everything()).unwrap();
        let found = tables.iter().map(|(_, table)| table.key_groups.clone().unwrap());
        assert_eq!(found.collect::<Vec<_>>(), [[1], [2], [3], [4]]);
        let lengths =
            tables.iter().map(|(_, table)| table.rows.column(0).as_list::<i32>().value(0).len());
        assert_eq!(lengths.sum::<usize>(), 160_000);
    }
}

#[test]
fn every_damaged_byte_is_found() {
    let file = encode([(KEYED, &keyed(5)), (LISTED, &list())]).unwrap();
    for place in 0..file.len() {
        let mut damaged = file.to_vec();
        damaged[place] ^= 0x10;
        let error = decode("state file 7", &damaged.into(), &everything());
        let error = error.expect_err("a damaged byte went unnoticed").to_string();
        assert!(error.starts_with("restore state file 7: "), "{error}");
    }
    for length in 0..file.len() {
        decode("a file", &file.slice(..length), &everything()).expect_err("it is cut off");
    }
}

#[test]
fn a_file_without_tables_is_read_as_empty() {
    let file: Bytes = encode([]).unwrap();
    assert!(decode("a file", &file, &everything()).unwrap().is_empty());
}

#[test]
fn tables_with_too_few_key_groups_are_refused() {
    let mut table = keyed(3);
    table.key_groups = Some(vec![1]);
    assert!(encode([(KEYED, &table)]).is_err());
}
