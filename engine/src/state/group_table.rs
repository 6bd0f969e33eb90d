//! Groups by key: a dense number for each key, which columns of aggregates are indexed by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::held::hash_table_bytes;
use crate::{Error, Result};

/// Bytes of freed keys that are worth the effort of closing the gaps.
const GAPS_BYTES_MIN: usize = 1 << 20;

/// Gives keys dense ids. Reading does not consume, and ids can be freed and are used again.
///
/// Keys lie side by side in Arrow's row format. Hashes are given, by
/// [`hash_columns`](crate::hash::hash_columns), so that they are computed once for all uses.
/// Without key columns there is one group, 0.
pub(crate) struct GroupTable {
    converter: Option<RowConverter>,
    /// The keys of the batch at hand, kept for its allocation.
    scratch: Option<Rows>,
    ids: HashTable<u32>,
    hashes: Vec<u64>,
    /// Where each id's key lies in `bytes`.
    places: Vec<(usize, usize)>,
    bytes: Vec<u8>,
    gaps_bytes: usize,
    free: Vec<u32>,
}

impl GroupTable {
    /// Starts without groups.
    ///
    /// # Errors
    /// `Invalid` where a key has a type that cannot be grouped by.
    pub(crate) fn new(keys: &[FieldRef]) -> Result<Self> {
        let converter = if keys.is_empty() {
            None
        } else {
            let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
            let converter = RowConverter::new(fields)
                .map_err(|error| Error::Invalid(format!("group by these columns: {error}")))?;
            Some(converter)
        };
        Ok(Self {
            scratch: converter.as_ref().map(|converter| converter.empty_rows(0, 0)),
            converter,
            ids: HashTable::new(),
            hashes: Vec::new(),
            places: Vec::new(),
            bytes: Vec::new(),
            gaps_bytes: 0,
            free: Vec::new(),
        })
    }

    /// Returns a bound that all ids are below.
    pub(crate) fn id_bound(&self) -> usize {
        if self.converter.is_some() { self.hashes.len() } else { 1 }
    }

    /// Finds the ids of `rows` rows and gives new keys new ones.
    ///
    /// # Errors
    /// `Compute` where the keys are of other types than the table's.
    pub(crate) fn intern(
        &mut self,
        rows: usize,
        keys: &[ArrayRef],
        hashes: &[u64],
        found: &mut Vec<u32>,
    ) -> Result<()> {
        found.clear();
        let (Some(converter), Some(scratch)) = (&self.converter, &mut self.scratch) else {
            found.resize(rows, 0);
            return Ok(());
        };
        let keys: Vec<ArrayRef> = keys.iter().map(normalise).collect();
        scratch.clear();
        converter
            .append(scratch, &keys)
            .map_err(|error| Error::compute("encode the keys of groups", error))?;
        found.reserve(rows);
        for (key, hash) in scratch.iter().zip(hashes) {
            let (places, bytes, known) = (&self.places, &self.bytes, &self.hashes);
            let same = |id: &u32| {
                let (start, length) = places[*id as usize];
                known[*id as usize] == *hash && &bytes[start..start + length] == key.as_ref()
            };
            let id = match self.ids.entry(*hash, same, |id| known[*id as usize]) {
                Entry::Occupied(entry) => *entry.get(),
                Entry::Vacant(entry) => {
                    let id = self.free.pop().unwrap_or(known.len() as u32);
                    entry.insert(id);
                    let place = (self.bytes.len(), key.as_ref().len());
                    self.bytes.extend_from_slice(key.as_ref());
                    if id as usize == self.hashes.len() {
                        self.hashes.push(*hash);
                        self.places.push(place);
                    } else {
                        self.hashes[id as usize] = *hash;
                        self.places[id as usize] = place;
                    }
                    id
                }
            };
            found.push(id);
        }
        Ok(())
    }

    /// Returns the keys of ids.
    ///
    /// # Errors
    /// `Compute` where a key does not decode, which is a bug.
    pub(crate) fn keys(&self, ids: &[u32]) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let rows = ids.iter().map(|id| {
            let (start, length) = self.places[*id as usize];
            parser.parse(&self.bytes[start..start + length])
        });
        converter
            .convert_rows(rows)
            .map_err(|error| Error::compute("decode the keys of groups", error))
    }

    /// Returns the hash of an id's key; 0 where there are no keys.
    pub(crate) fn hash(&self, id: u32) -> u64 {
        self.hashes.get(id as usize).copied().unwrap_or(0)
    }

    /// Returns the ids in use, in order.
    pub(crate) fn live_ids(&self) -> Vec<u32> {
        if self.converter.is_none() {
            return vec![0];
        }
        let mut ids: Vec<u32> = self.ids.iter().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Forgets a key; its id is given to another one later.
    pub(crate) fn free(&mut self, id: u32) {
        let hash = self.hash(id);
        if let Ok(entry) = self.ids.find_entry(hash, |other| *other == id) {
            entry.remove();
            self.free.push(id);
            let place = &mut self.places[id as usize];
            self.gaps_bytes += place.1;
            *place = (0, 0);
            if self.gaps_bytes > GAPS_BYTES_MIN && self.gaps_bytes > self.bytes.len() / 2 {
                self.close_gaps();
            }
        }
    }

    fn close_gaps(&mut self) {
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.gaps_bytes);
        for place in &mut self.places {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[place.0..place.0 + place.1]);
            place.0 = start;
        }
        self.bytes = bytes;
        self.gaps_bytes = 0;
    }

    /// Returns an estimate of the bytes that it holds.
    pub(crate) fn memory_bytes(&self) -> usize {
        let per_id = size_of::<u64>() + size_of::<(usize, usize)>();
        self.bytes.capacity()
            + self.hashes.capacity() * per_id
            + self.free.capacity() * size_of::<u32>()
            + hash_table_bytes(self.ids.capacity(), size_of::<u32>())
    }
}

/// Makes floats that are equal have equal bytes, as they have equal hashes.
fn normalise(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let column: Float64Array = column
                .as_primitive::<Float64Type>()
                .unary(|value| if value.is_nan() { f64::NAN } else { value + 0.0 });
            Arc::new(column)
        }
        DataType::Float32 => {
            let column: Float32Array = column
                .as_primitive::<Float32Type>()
                .unary(|value| if value.is_nan() { f32::NAN } else { value + 0.0 });
            Arc::new(column)
        }
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::hash::hash_columns;

    fn intern(table: &mut GroupTable, keys: &[ArrayRef]) -> Vec<u32> {
        let (mut hashes, mut ids) = (Vec::new(), Vec::new());
        hash_columns(keys, &mut hashes).unwrap();
        table.intern(hashes.len(), keys, &hashes, &mut ids).unwrap();
        ids
    }

    fn words(words: &[Option<&str>]) -> [ArrayRef; 1] {
        [Arc::new(words.iter().copied().collect::<StringViewArray>())]
    }

    fn table(kind: DataType) -> GroupTable {
        GroupTable::new(&[Arc::new(Field::new("k", kind, true))]).unwrap()
    }

    #[test]
    fn equal_keys_have_equal_ids_and_can_be_read_back() {
        let mut table = table(DataType::Utf8View);
        assert_eq!(
            intern(&mut table, &words(&[Some("a"), None, Some("a"), Some("")])),
            [0, 1, 0, 2]
        );
        assert_eq!(intern(&mut table, &words(&[Some(""), Some("b")])), [2, 3]);
        let keys = table.keys(&[3, 1]).unwrap();
        assert_eq!(&keys[0], &words(&[Some("b"), None])[0]);
        assert_eq!(table.live_ids(), [0, 1, 2, 3]);
    }

    #[test]
    fn freed_ids_are_given_to_new_keys() {
        let mut table = table(DataType::Utf8View);
        intern(&mut table, &words(&[Some("a"), Some("b")]));
        table.free(0);
        assert_eq!(table.live_ids(), [1]);
        assert_eq!(intern(&mut table, &words(&[Some("b"), Some("c"), Some("a")])), [1, 0, 2]);
        assert_eq!(&table.keys(&[0]).unwrap()[0], &words(&[Some("c")])[0]);
    }

    #[test]
    fn gaps_of_freed_keys_are_closed() {
        let mut table = table(DataType::Int64);
        let keys: [ArrayRef; 1] = [Arc::new(Int64Array::from_iter_values(0..300_000))];
        let ids = intern(&mut table, &keys);
        let before = table.memory_bytes();
        ids[..290_000].iter().for_each(|id| table.free(*id));
        assert!(table.memory_bytes() < before);
        let rest: [ArrayRef; 1] = [keys[0].slice(290_000, 10_000)];
        assert_eq!(intern(&mut table, &rest), ids[290_000..]);
        assert_eq!(&table.keys(&ids[299_999..]).unwrap()[0], &keys[0].slice(299_999, 1));
    }

    #[test]
    fn both_zeros_are_one_group() {
        let mut table = table(DataType::Float64);
        let keys: [ArrayRef; 1] = [Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN]))];
        assert_eq!(intern(&mut table, &keys), [0, 0, 1]);
    }
}
