//! What a value is made of, in order: a serializer that writes down parts instead of bytes.
//!
//! The parts go into vectors, where another implementation reads them.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{
    Serialize, Serializer,
    ser::{self, Impossible},
};
use serde_json::Value;

/// One part of a value.
#[derive(Debug)]
pub(crate) enum Node {
    Bool(bool),
    /// Bytes as they are, or with their length before them.
    Bytes(Vec<u8>),
    Blob(Vec<u8>),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Number(&'static str, u64),
    Option(Option<Box<Self>>),
    Struct(&'static str, Vec<(&'static str, Self)>),
    Text(String),
    Tuple(Vec<Self>),
    Variant(&'static str, u32, &'static str, Option<Box<Self>>),
}

/// The parts of a value.
pub(crate) fn trace(value: &impl Serialize) -> Node {
    value.serialize(Tracer).unwrap()
}

impl Node {
    /// The lines `path kind value` of a vector.
    pub(crate) fn parts(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        self.write("", &mut lines);
        lines.into_iter().map(Value::from).collect()
    }

    fn write(&self, path: &str, lines: &mut Vec<String>) {
        let name = if path.is_empty() { "value" } else { path };
        let below = |field: &dyn fmt::Display| match path {
            "" => field.to_string(),
            _ => format!("{path}.{field}"),
        };
        let mut line = |rest: fmt::Arguments<'_>| lines.push(format!("{name} {rest}"));
        match self {
            Self::Blob(bytes) => line(format_args!("blob {}", HEXLOWER.encode(bytes))),
            Self::Bool(bool) => line(format_args!("bool {}", u8::from(*bool))),
            Self::Bytes(bytes) => line(format_args!("bytes {}", HEXLOWER.encode(bytes))),
            Self::List(items) => {
                line(format_args!("length {}", items.len()));
                for (at, item) in items.iter().enumerate() {
                    item.write(&below(&at), lines);
                }
            }
            Self::Map(pairs) => {
                line(format_args!("length {}", pairs.len()));
                for (at, (key, value)) in pairs.iter().enumerate() {
                    key.write(&below(&format_args!("{at}.key")), lines);
                    value.write(&below(&format_args!("{at}.value")), lines);
                }
            }
            Self::Number(kind, number) => line(format_args!("{kind} {number}")),
            Self::Option(None) => line(format_args!("option 0")),
            Self::Option(Some(content)) => {
                line(format_args!("option 1"));
                content.write(path, lines);
            }
            Self::Struct(_, fields) => {
                for (field, node) in fields {
                    node.write(&below(field), lines);
                }
            }
            Self::Text(text) => line(format_args!("text {text}")),
            Self::Tuple(items) => {
                for (at, item) in items.iter().enumerate() {
                    item.write(&below(&at), lines);
                }
            }
            Self::Variant(_, number, variant, content) => {
                line(format_args!("variant {number} {variant}"));
                if let Some(content) = content {
                    content.write(path, lines);
                }
            }
        }
    }

    /// How the pages call the encoding.
    pub(crate) fn word(&self) -> String {
        let longest =
            |nodes: &mut dyn Iterator<Item = &Self>| nodes.map(Self::word).max_by_key(String::len);
        match self {
            Self::Blob(_) => "blob".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Bytes(bytes) => format!("bytes {}", bytes.len()),
            Self::List(items) => match longest(&mut items.iter()) {
                Some(item) => format!("list of {item}"),
                None => String::new(),
            },
            Self::Map(pairs) => match pairs.first() {
                Some((key, value)) => format!("map of {} to {}", key.word(), value.word()),
                None => String::new(),
            },
            Self::Number(kind, _) => (*kind).to_owned(),
            Self::Option(Some(content)) => format!("option of {}", content.word()),
            Self::Option(None) => String::new(),
            Self::Struct(name, _) | Self::Variant(name, ..) => (*name).to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::Tuple(items) => {
                let words: Vec<String> = items.iter().map(Self::word).collect();
                format!("({})", words.join(", "))
            }
        }
    }
}

/// Wire types never fail to be written down.
#[derive(Debug)]
pub(crate) struct Never(String);

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Never {}

impl ser::Error for Never {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

struct Tracer;

/// A part that is being gathered.
struct Gather {
    nodes: Vec<Node>,
    keys: Vec<Node>,
    names: Vec<&'static str>,
    end: fn(Self) -> Node,
    name: &'static str,
    variant: Option<(u32, &'static str)>,
}

impl Gather {
    fn new(end: fn(Self) -> Node) -> Self {
        Self {
            nodes: Vec::new(),
            keys: Vec::new(),
            names: Vec::new(),
            end,
            name: "",
            variant: None,
        }
    }

    /// The bytes of a run of `u8`, if it is one.
    fn octets(&self) -> Option<Vec<u8>> {
        let octet = |node: &Node| match node {
            Node::Number("u8", number) => u8::try_from(*number).ok(),
            _ => None,
        };
        (!self.nodes.is_empty()).then(|| self.nodes.iter().map(octet).collect())?
    }

    fn list(self) -> Node {
        self.octets()
            .map_or_else(|| Node::List(self.nodes), Node::Blob)
    }

    fn tuple(self) -> Node {
        self.octets()
            .map_or_else(|| Node::Tuple(self.nodes), Node::Bytes)
    }

    fn map(self) -> Node {
        Node::Map(self.keys.into_iter().zip(self.nodes).collect())
    }

    fn fields(self) -> Node {
        let fields = self.names.into_iter().zip(self.nodes).collect();
        match self.variant {
            None => Node::Struct(self.name, fields),
            Some((number, variant)) => {
                let content = Node::Struct(variant, fields);
                Node::Variant(self.name, number, variant, Some(Box::new(content)))
            }
        }
    }
}

macro_rules! gathers {
    ($($trait:ident::$method:ident),*) => {$(
        impl ser::$trait for Gather {
            type Ok = Node;
            type Error = Never;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
                self.nodes.push(value.serialize(Tracer)?);
                Ok(())
            }

            fn end(self) -> Result<Node, Never> {
                Ok((self.end)(self))
            }
        }
    )*};
}

gathers! { SerializeSeq::serialize_element, SerializeTuple::serialize_element }

macro_rules! gathers_fields {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Gather {
            type Ok = Node;
            type Error = Never;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Never> {
                self.names.push(name);
                self.nodes.push(value.serialize(Tracer)?);
                Ok(())
            }

            fn end(self) -> Result<Node, Never> {
                Ok((self.end)(self))
            }
        }
    )*};
}

gathers_fields! { SerializeStruct, SerializeStructVariant }

impl ser::SerializeMap for Gather {
    type Ok = Node;
    type Error = Never;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Never> {
        self.keys.push(key.serialize(Tracer)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        self.nodes.push(value.serialize(Tracer)?);
        Ok(())
    }

    fn end(self) -> Result<Node, Never> {
        Ok((self.end)(self))
    }
}

macro_rules! numbers {
    ($($method:ident: $type:ident),*) => {$(
        fn $method(self, number: $type) -> Result<Node, Never> {
            Ok(Node::Number(stringify!($type), number.into()))
        }
    )*};
}

/// Kinds that no wire type uses.
macro_rules! unused {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, _: $type) -> Result<Node, Never> {
            Err(Never(concat!(stringify!($method), " is not part of the protocol").to_owned()))
        }
    )*};
}

impl Serializer for Tracer {
    type Ok = Node;
    type Error = Never;
    type SerializeSeq = Gather;
    type SerializeTuple = Gather;
    type SerializeTupleStruct = Impossible<Node, Never>;
    type SerializeTupleVariant = Impossible<Node, Never>;
    type SerializeMap = Gather;
    type SerializeStruct = Gather;
    type SerializeStructVariant = Gather;

    numbers! { serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64 }

    unused! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_f32: f32, serialize_f64: f64, serialize_char: char
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, bool: bool) -> Result<Node, Never> {
        Ok(Node::Bool(bool))
    }

    fn serialize_str(self, text: &str) -> Result<Node, Never> {
        Ok(Node::Text(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Node, Never> {
        Ok(Node::Blob(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Node, Never> {
        Ok(Node::Option(None))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, Never> {
        Ok(Node::Option(Some(Box::new(value.serialize(Self)?))))
    }

    fn serialize_unit(self) -> Result<Node, Never> {
        Ok(Node::Tuple(Vec::new()))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Node, Never> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
    ) -> Result<Node, Never> {
        Ok(Node::Variant(name, number, variant, None))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Node, Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Node, Never> {
        let content = value.serialize(self)?;
        Ok(Node::Variant(
            name,
            number,
            variant,
            Some(Box::new(content)),
        ))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Gather, Never> {
        Ok(Gather::new(Gather::list))
    }

    fn serialize_tuple(self, _: usize) -> Result<Gather, Never> {
        Ok(Gather::new(Gather::tuple))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Never> {
        Err(Never(format!("{name} is a tuple struct")))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Never> {
        Err(Never(format!("{name} has a tuple variant")))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Gather, Never> {
        Ok(Gather::new(Gather::map))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Gather, Never> {
        Ok(Gather {
            name,
            ..Gather::new(Gather::fields)
        })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        number: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Gather, Never> {
        Ok(Gather {
            name,
            variant: Some((number, variant)),
            ..Gather::new(Gather::fields)
        })
    }
}
