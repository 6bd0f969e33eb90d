use std::sync::Arc;

use arrow::array::{Int64Array, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::Field;

use super::*;

fn hashes(columns: &[ArrayRef]) -> Vec<u64> {
    let mut hashes = vec![1, 2, 3];
    hash_columns(columns, &mut hashes).unwrap();
    hashes
}

fn strings() -> ArrayRef {
    let long = "a string that does not fit into a view";
    Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some(long), Some("a")]))
}

#[test]
fn strings_of_every_layout_hash_alike() {
    let expected = hashes(&[strings()]);
    let dictionary = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8View));
    for layout in [
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::BinaryView,
        dictionary(DataType::Int32),
        dictionary(DataType::UInt8),
    ] {
        let column = cast(&strings(), &layout).unwrap();
        assert_eq!(hashes(&[column]), expected, "{layout}");
    }
    assert_eq!(expected[0], expected[4]);
    assert_ne!(expected[1], expected[2], "null is not the empty string");
}

#[test]
fn numbers_of_every_width_hash_alike() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), None, Some(100)]));
    let decimals = cast(&numbers, &DataType::Decimal128(20, 2)).unwrap();
    for width in [DataType::Int8, DataType::UInt8, DataType::Int32, DataType::UInt64] {
        assert_eq!(
            hashes(&[cast(&numbers, &width).unwrap()]),
            hashes(std::slice::from_ref(&numbers))
        );
    }
    for width in [DataType::Decimal64(10, 2), DataType::Decimal256(40, 2)] {
        assert_eq!(
            hashes(&[cast(&numbers, &width).unwrap()]),
            hashes(std::slice::from_ref(&decimals))
        );
    }
}

#[test]
fn zeros_and_nans_are_normalised() {
    let negative_nan = f64::from_bits(f64::NAN.to_bits() | (1 << 63) | 1);
    let floats: ArrayRef =
        Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, negative_nan, 1.0]));
    let found = hashes(&[floats]);
    assert_eq!(found[0], found[1]);
    assert_eq!(found[2], found[3]);
    assert_ne!(found[0], found[4]);
}

#[test]
fn nested_columns_hash_by_value() {
    let field = |kind| Arc::new(Field::new("s", kind, true));
    let structs: ArrayRef = Arc::new(StructArray::from(vec![(field(DataType::Utf8), strings())]));
    let views = cast(&strings(), &DataType::Utf8View).unwrap();
    let viewed: ArrayRef = Arc::new(StructArray::from(vec![(field(DataType::Utf8View), views)]));
    let found = hashes(&[structs.slice(1, 4), strings().slice(1, 4)]);
    assert_eq!(found, hashes(&[viewed.slice(1, 4), strings().slice(1, 4)]));
    assert_eq!(hashes(&[structs])[0], hashes(&[viewed])[4]);
}

#[test]
fn the_order_of_columns_counts() {
    let left: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let right: ArrayRef = Arc::new(Int64Array::from(vec![2, 1]));
    let found = hashes(&[left, right]);
    assert_ne!(found[0], found[1]);
}

/// State in checkpoints is placed by these: a change needs a new version of the hash.
#[test]
fn hashes_are_stable() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(1), None, Some(-7)]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["", "a", "auction", "nexmark.com/"]));
    assert_eq!(
        hashes(std::slice::from_ref(&numbers)),
        [
            0xbcd4_a457_6d85_cc02,
            0x3ab6_3a52_81b3_2fc0,
            0x2262_2b0e_938f_3261,
            0x2fd1_0388_4e24_f3ad
        ]
    );
    assert_eq!(
        hashes(&[numbers, words]),
        [
            0x4dae_cd00_6c11_6b72,
            0x193f_7b36_89a9_94aa,
            0x3a1d_e2ee_8c24_4052,
            0x7d33_0fb7_ab49_d432
        ]
    );
    assert_eq!(HASH_VERSION, 1);
}

#[test]
fn key_groups_are_dealt_out_in_ranges_that_cover_all() {
    for (parallelism, count) in [(1, 256), (2, 256), (3, 256), (7, 10), (128, 128), (5, 3)] {
        let mut next = 0;
        for subtask in 0..parallelism {
            let range = key_groups_of(subtask, parallelism, count);
            assert_eq!(range.start, next);
            for group in range.clone() {
                assert_eq!(subtask_of(group, parallelism, count), subtask);
            }
            next = range.end;
        }
        assert_eq!(next, count);
    }
}

#[test]
fn consecutive_keys_spread_over_all_key_groups() {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..25_600));
    let mut counts = [0_u32; 256];
    for hash in hashes(&[keys]) {
        counts[usize::from(key_group(hash, 256))] += 1;
    }
    assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
}
