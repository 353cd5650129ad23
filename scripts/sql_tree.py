#!/usr/bin/env python3
"""Writes src/sql/tree.rs: an exhaustive walk over pg_query's parse tree.

Usage: scripts/sql_tree.py PATH/TO/pg_query/src/protobuf.rs > src/sql/tree.rs

Every message that pg_query can put into a tree becomes a variant of `Tree`, and every field of every message is named in
a pattern without `..`: when a newer pg_query adds a message or a field, the file no longer compiles until it is made again.
"""
import re
import sys

source = open(sys.argv[1]).read()
source = re.sub(r"#\[prost\((?:[^()]|\([^()]*\))*\)\]", "", source)

source = re.sub(r",\s+>", ">", re.sub(r"<\s+", "<", source))

messages = {}
for match in re.finditer(r"^pub struct (\w+) \{(?:\}|\n(.*?)^\})", source, re.S | re.M):
    fields = re.findall(r"pub ((?:r#)?\w+): (.*?),\n", (match.group(2) or "") + "\n")
    messages[match.group(1)] = fields

node_enum = re.search(r"pub enum Node \{(.*?)\n    \}", source, re.S).group(1)
variants = re.findall(r"(\w+)\(\s*(?:::prost::alloc::boxed::Box<)?super::(\w+)>?,?\s*\),", node_enum)

BOX = r"(?:::prost::alloc::boxed::Box<)?(\w+)>?"


def visit(field, kind):
    """The statement that pushes a field's children, or None for a field without any."""
    name = field
    if kind == "::core::option::Option<node::Node>" or kind == "::core::option::Option<a_const::Val>":
        return None
    match = re.fullmatch(rf"::core::option::Option<{BOX}>", kind)
    if match:
        if match.group(1) == "Node":
            return f"node_in({name}, out)"
        return f"if let Some(message) = {name} {{ out.push(Tree::{match.group(1)}(message)) }}"
    match = re.fullmatch(r"::prost::alloc::vec::Vec<(\w+)>", kind)
    if match and match.group(1) == "Node":
        return f"nodes_in({name}, out)"
    if match and match.group(1) in messages:
        raise SystemExit(f"list of messages: {field}: {kind}")
    return None


print("""//! Every node of a parse tree, and the way to its children. Made by `scripts/sql_tree.py` from pg_query's own messages.
//!
//! The patterns name every field, so a pg_query with other fields does not compile: nothing in a tree can be overlooked.
//! Nothing here recurses: a caller keeps its own stack.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node};

/// A reference to any message of a parse tree.
#[derive(Clone, Copy)]
#[rustfmt::skip]
pub(crate) enum Tree<'a> {""")
for _, message in variants:
    print(f"    {message}(&'a protobuf::{message}),")
print("""}

impl<'a> From<&'a NodeEnum> for Tree<'a> {
    #[rustfmt::skip]
    fn from(node: &'a NodeEnum) -> Self {
        match node {""")
for variant, message in variants:
    print(f"            NodeEnum::{variant}(message) => Tree::{message}(message),")
print("""        }
    }
}
""")
nodes = {message for _, message in variants}
arms = []
for _, message in variants:
    visits, names = [], []
    for field, kind in messages[message]:
        done = visit(field, kind)
        names.append(field if done else f"{field}: _")
        if done:
            visits.append(done)
            match = re.fullmatch(rf"::core::option::Option<{BOX}>", kind)
            if match and match.group(1) not in nodes | {"Node"}:
                raise SystemExit(f"embedded message that is no node: {kind}")
    pattern = f"protobuf::{message} {{ {', '.join(names)} }}" if names else f"protobuf::{message} {{}}"
    body = "{ " + " ".join(f"{v};" for v in visits) + " }" if visits else "{}"
    arms.append(f"            Tree::{message}({pattern}) => {body}")
print("""impl<'a> Tree<'a> {
    /// Appends the node's children, field by field.
    #[rustfmt::skip]
    pub(crate) fn children(self, out: &mut Vec<Tree<'a>>) {
        match self {""")
print("\n".join(arms))
print("""        }
    }
}

/// The child in an optional node.
fn node_in<'a>(node: &'a Option<Box<Node>>, out: &mut Vec<Tree<'a>>) {
    out.extend(node.iter().filter_map(|node| node.node.as_ref()).map(Tree::from));
}

/// The children in a list of nodes.
fn nodes_in<'a>(nodes: &'a [Node], out: &mut Vec<Tree<'a>>) {
    out.extend(nodes.iter().filter_map(|node| node.node.as_ref()).map(Tree::from));
}""")
