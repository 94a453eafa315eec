//! Hashes a value word by word, as serde tells of it: nothing is encoded or laid down first.
//!
//! Each number, flag, length and variant is a word of its own; text is its length and its bytes by
//! eight. Two values of one type that differ tell different words.
//!
//! Invariants
//! - what a value tells says where it ends: no two sequences of values tell the same words.
use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::{Digest, Lanes, halves};

/// A hash on its way.
#[derive(Default)]
pub(super) struct Words {
    lanes: Lanes,
    /// Words that were not mixed in yet.
    waiting: [u64; WAITING],
    /// How many: less than `WAITING`.
    filled: usize,
    /// Words that were mixed in.
    mixed: u64,
}

/// Even, since words are mixed in by two. Mixing several at once costs less than looking each time.
const WAITING: usize = 8;

impl Words {
    #[inline]
    fn word(&mut self, word: u64) {
        // The remainder is the number itself, and spares a check of bounds.
        self.waiting[self.filled % WAITING] = word;
        self.filled = self.filled.wrapping_add(1);
        if self.filled == WAITING {
            self.mix_waiting();
        }
    }

    fn mix_waiting(&mut self) {
        for &[low, high] in self.waiting.as_chunks().0 {
            self.lanes.mix_in(low, high);
        }
        self.mixed = self.mixed.wrapping_add(WAITING as u64);
        self.filled = 0;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (whole, rest) = bytes.as_chunks();
        for &word in whole {
            self.word(u64::from_le_bytes(word));
        }
        if !rest.is_empty() {
            self.word(rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }

    pub(super) fn finish(mut self) -> Digest {
        let length = self.mixed + self.filled as u64;
        self.waiting[self.filled..].fill(0);
        for &[low, high] in self.waiting[..self.filled.next_multiple_of(2)].as_chunks().0 {
            self.lanes.mix_in(low, high);
        }
        self.lanes.finish(length)
    }
}

/// The value is not plain data: it does not know its own length, or holds a fraction.
#[derive(Debug)]
pub(super) struct NotPlain;

impl core::fmt::Display for NotPlain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the value is not plain data")
    }
}

impl core::error::Error for NotPlain {}

impl ser::Error for NotPlain {
    fn custom<T: core::fmt::Display>(_: T) -> Self {
        Self
    }
}

type Told = Result<(), NotPlain>;

macro_rules! as_words {
    ($($name:ident: $number:ty),*) => {
        $(
            #[inline]
            fn $name(self, number: $number) -> Told {
                self.word(u64::from(number));
                Ok(())
            }
        )*
    };
}

impl<'a> ser::Serializer for &'a mut Words {
    type Ok = ();
    type Error = NotPlain;
    type SerializeSeq = &'a mut Words;
    type SerializeTuple = &'a mut Words;
    type SerializeTupleStruct = &'a mut Words;
    type SerializeTupleVariant = &'a mut Words;
    type SerializeMap = &'a mut Words;
    type SerializeStruct = &'a mut Words;
    type SerializeStructVariant = &'a mut Words;

    as_words!(
        serialize_bool: bool, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64, serialize_char: char
    );

    fn serialize_i8(self, number: i8) -> Told {
        self.serialize_i64(i64::from(number))
    }

    fn serialize_i16(self, number: i16) -> Told {
        self.serialize_i64(i64::from(number))
    }

    fn serialize_i32(self, number: i32) -> Told {
        self.serialize_i64(i64::from(number))
    }

    #[inline]
    fn serialize_i64(self, number: i64) -> Told {
        self.word(number.cast_unsigned());
        Ok(())
    }

    fn serialize_u128(self, number: u128) -> Told {
        halves(number).into_iter().for_each(|half| self.word(half));
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Told {
        Err(NotPlain)
    }

    fn serialize_f64(self, _: f64) -> Told {
        Err(NotPlain)
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Told {
        self.bytes(text.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Told {
        self.bytes(bytes);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Told {
        self.word(0);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Told {
        self.word(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Told {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Told {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, nth: u32, _: &'static str) -> Told {
        self.serialize_u32(nth)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Told {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        nth: u32,
        _: &'static str,
        value: &T,
    ) -> Told {
        self.word(u64::from(nth));
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self, NotPlain> {
        self.word(length.ok_or(NotPlain)? as u64);
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, NotPlain> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotPlain> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        nth: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotPlain> {
        self.word(u64::from(nth));
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self, NotPlain> {
        self.serialize_seq(length)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotPlain> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        nth: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotPlain> {
        self.word(u64::from(nth));
        Ok(self)
    }

    fn collect_str<T: core::fmt::Display + ?Sized>(self, value: &T) -> Told {
        self.serialize_str(&alloc::string::ToString::to_string(value))
    }

    // What is not for people to read, like the encoding of the log.
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Parts follow one another: the whole has said how many there are, or its type does.
macro_rules! parts {
    ($($of:ident: $part:ident),*) => {
        $(
            impl $of for &mut Words {
                type Ok = ();
                type Error = NotPlain;

                #[inline]
                fn $part<T: Serialize + ?Sized>(&mut self, value: &T) -> Told {
                    value.serialize(&mut **self)
                }

                #[inline]
                fn end(self) -> Told {
                    Ok(())
                }
            }
        )*
    };
}

parts!(
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
);

macro_rules! named_parts {
    ($($of:ident),*) => {
        $(
            impl $of for &mut Words {
                type Ok = ();
                type Error = NotPlain;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    _: &'static str,
                    value: &T,
                ) -> Told {
                    value.serialize(&mut **self)
                }

                #[inline]
                fn end(self) -> Told {
                    Ok(())
                }
            }
        )*
    };
}

named_parts!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for &mut Words {
    type Ok = ();
    type Error = NotPlain;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Told {
        key.serialize(&mut **self)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Told {
        value.serialize(&mut **self)
    }

    #[inline]
    fn end(self) -> Told {
        Ok(())
    }
}
