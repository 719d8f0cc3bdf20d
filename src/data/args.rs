//! Arguments as bytes: equal arguments have equal bytes, different ones different bytes.
//!
//! Every item says its kind and, where it has one, its length, so that no two sequences of items encode equally. Numbers
//! of all widths are one kind; the entries of maps and the fields of structs are sorted, so that the order in which a
//! `HashMap` iterates does not matter. (A `HashSet` is a sequence to serde; its order does.)

use serde::ser::{self, Serialize};

/// Why an argument has no bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Problem(String);

impl ser::Error for Problem {
    fn custom<T: std::fmt::Display>(problem: T) -> Self {
        Self(problem.to_string())
    }
}

/// The canonical bytes of a value.
pub(super) fn canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::with_capacity(32);
    value.serialize(Writer(&mut out))?;
    Ok(out)
}

struct Writer<'o>(&'o mut Vec<u8>);

impl Writer<'_> {
    fn put(self, kind: u8, bytes: &[u8]) {
        self.0.push(kind);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn int(self, value: i128) {
        self.0.push(b'i');
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// The name of a variant, or of a type that is nothing but its name or its content.
    fn variant(&mut self, name: &str) {
        Writer(self.0).put(b'v', name.as_bytes());
    }
}

/// Items of a sequence, or sorted pairs, behind their number.
struct Items<'o> {
    out: &'o mut Vec<u8>,
    kind: u8,
    /// Each with the length of its key.
    parts: Vec<(usize, Vec<u8>)>,
    sorted: bool,
}

impl<'o> Items<'o> {
    fn list(out: &'o mut Vec<u8>) -> Self {
        Self { out, kind: b'l', parts: Vec::new(), sorted: false }
    }

    fn pairs(out: &'o mut Vec<u8>) -> Self {
        Self { out, kind: b'm', parts: Vec::new(), sorted: true }
    }

    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Problem> {
        let item = canonical(item)?;
        self.parts.push((item.len(), item));
        Ok(())
    }

    fn pair<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Problem> {
        let mut pair = canonical(name)?;
        let key = pair.len();
        value.serialize(Writer(&mut pair))?;
        self.parts.push((key, pair));
        Ok(())
    }

    fn finish(mut self) {
        if self.sorted {
            // What has one key several times keeps their order, which may matter.
            self.parts.sort_by(|(one, a), (other, b)| a[..*one].cmp(&b[..*other]));
        }
        self.out.push(self.kind);
        self.out.extend_from_slice(&(self.parts.len() as u64).to_be_bytes());
        self.parts.iter().for_each(|(_, part)| self.out.extend_from_slice(part));
    }
}

macro_rules! ints {
    ($($method:ident: $int:ty),*) => {
        $(fn $method(self, value: $int) -> Result<(), Problem> {
            self.int(value.into());
            Ok(())
        })*
    };
}

impl<'o> ser::Serializer for Writer<'o> {
    type Ok = ();
    type Error = Problem;
    type SerializeSeq = Items<'o>;
    type SerializeTuple = Items<'o>;
    type SerializeTupleStruct = Items<'o>;
    type SerializeTupleVariant = Items<'o>;
    type SerializeMap = Items<'o>;
    type SerializeStruct = Items<'o>;
    type SerializeStructVariant = Items<'o>;

    ints! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    }

    fn serialize_u128(self, value: u128) -> Result<(), Problem> {
        match i128::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => self.put(b'I', &value.to_be_bytes()),
        }
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), Problem> {
        self.0.extend_from_slice(&[b'b', u8::from(value)]);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Problem> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Problem> {
        // All that are equal are one, and all that are no number.
        let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
        self.put(b'f', &value.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Problem> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Problem> {
        self.put(b's', value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Problem> {
        self.put(b'x', value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Problem> {
        self.0.push(b'n');
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Problem> {
        self.0.push(b'o');
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Problem> {
        self.0.push(b'u');
        Ok(())
    }

    fn serialize_unit_struct(mut self, name: &'static str) -> Result<(), Problem> {
        self.variant(name);
        self.serialize_unit()
    }

    fn serialize_unit_variant(mut self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Problem> {
        self.variant(variant);
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(mut self, name: &'static str, value: &T) -> Result<(), Problem> {
        self.variant(name);
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Problem> {
        self.variant(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'o>, Problem> {
        Ok(Items::list(self.0))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'o>, Problem> {
        Ok(Items::list(self.0))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'o>, Problem> {
        Ok(Items::list(self.0))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'o>, Problem> {
        self.variant(variant);
        Ok(Items::list(self.0))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Items<'o>, Problem> {
        Ok(Items::pairs(self.0))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Items<'o>, Problem> {
        Ok(Items::pairs(self.0))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'o>, Problem> {
        self.variant(variant);
        Ok(Items::pairs(self.0))
    }
}

macro_rules! lists {
    ($($list:ident: $method:ident),*) => {
        $(impl ser::$list for Items<'_> {
            type Ok = ();
            type Error = Problem;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Problem> {
                self.push(item)
            }

            fn end(self) -> Result<(), Problem> {
                self.finish();
                Ok(())
            }
        })*
    };
}

lists!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

macro_rules! structs {
    ($($fields:ident),*) => {
        $(impl ser::$fields for Items<'_> {
            type Ok = ();
            type Error = Problem;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Problem> {
                self.pair(name, value)
            }

            fn end(self) -> Result<(), Problem> {
                self.finish();
                Ok(())
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Items<'_> {
    type Ok = ();
    type Error = Problem;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        self.push(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        match self.parts.last_mut() {
            Some((_, pair)) => value.serialize(Writer(pair)),
            None => Err(ser::Error::custom("a map's value before its key")),
        }
    }

    fn end(self) -> Result<(), Problem> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashMap};

    #[derive(serde::Serialize)]
    struct Ab {
        a: u8,
        b: &'static str,
    }

    #[derive(serde::Serialize)]
    struct Ba {
        b: &'static str,
        a: u64,
    }

    #[derive(serde::Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Tuple(u8, u8),
        Fields { a: u8 },
    }

    #[derive(serde::Serialize)]
    struct Asc;

    #[derive(serde::Serialize)]
    struct Desc;

    #[derive(serde::Serialize)]
    struct Meters(u8);

    #[derive(serde::Serialize)]
    struct Feet(u8);

    /// A map that has a key twice, as queries may.
    struct Twice([(&'static str, u8); 2]);

    impl Serialize for Twice {
        fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0)
        }
    }

    fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
        canonical(value).expect("serializes")
    }

    #[test]
    fn what_is_equal_has_equal_bytes() {
        assert_eq!(bytes(&1_u8), bytes(&1_i64));
        assert_eq!(bytes(&1_u128), bytes(&1_i8));
        assert_eq!(bytes(&0.0_f32), bytes(&-0.0_f64));
        assert_eq!(bytes("a"), bytes(&'a'));
        assert_eq!(bytes("a"), bytes(&String::from("a")));
        assert_eq!(bytes(&Ab { a: 1, b: "x" }), bytes(&Ba { b: "x", a: 1 }));
        let pairs: Vec<(String, u32)> = (0..100).map(|n| (format!("k{n}"), n)).collect();
        let hashed: HashMap<_, _> = pairs.iter().cloned().collect();
        let sorted: BTreeMap<_, _> = pairs.into_iter().rev().collect();
        assert_eq!(bytes(&hashed), bytes(&sorted));
    }

    #[test]
    fn what_differs_has_other_bytes() {
        let all = [
            bytes(&()),
            bytes(&None::<u8>),
            bytes(&Some(())),
            bytes(&Some(Some(()))),
            bytes(&false),
            bytes(&true),
            bytes(&0),
            bytes(&1),
            bytes(&-1),
            bytes(&u128::MAX),
            bytes(&0.0),
            bytes(&f64::NAN),
            bytes(""),
            bytes("1"),
            bytes("\0"),
            bytes(&[0_u8; 0]),
            bytes(&(1,)),
            bytes(&(1, 2)),
            bytes(&((1, 2),)),
            bytes(&((1,), 2)),
            bytes(&("ab", "c")),
            bytes(&("a", "bc")),
            bytes(&["a"]),
            bytes(&BTreeMap::from([("a", 1)])),
            bytes(&BTreeMap::from([("a", 1), ("b", 1)])),
            bytes(&Ab { a: 1, b: "x" }),
            bytes(&Asc),
            bytes(&Desc),
            bytes(&Meters(1)),
            bytes(&Feet(1)),
            bytes(&Twice([("a", 1), ("a", 2)])),
            bytes(&Twice([("a", 2), ("a", 1)])),
            bytes(&Kind::Unit),
            bytes(&Kind::New(1)),
            bytes(&Kind::Tuple(1, 1)),
            bytes(&Kind::Fields { a: 1 }),
        ];
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(n == m, one == other, "{n} {m}");
                assert!(n == m || !other.starts_with(one), "{n} is a beginning of {m}");
            }
        }
    }

    #[test]
    fn what_does_not_serialize_says_why() {
        struct No;
        impl Serialize for No {
            fn serialize<S: ser::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("it does not want to"))
            }
        }
        assert_eq!(canonical(&(1, No)).expect_err("refused").to_string(), "it does not want to");
    }

    proptest! {
        #[test]
        fn texts_are_kept_apart(one in prop::collection::vec(".{0,3}", 0..4), other in prop::collection::vec(".{0,3}", 0..4)) {
            prop_assert_eq!(one == other, bytes(&one) == bytes(&other));
        }
    }
}
