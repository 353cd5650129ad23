#!/usr/bin/env python3
"""Writes src/sql/tree_mut.rs: an exhaustive walk that changes a parse tree.

Usage: scripts/sql_tree_mut.py PATH/TO/pg_query/src/protobuf.rs > src/sql/tree_mut.rs

Like sql_tree.py, with every field of every message named: a newer pg_query with other fields does not compile.
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
# Where something stands in the text, and nothing else.
POSITIONS = re.compile(r"(\w+_)?location|stmt_len|(rexpr_)?list_(start|end)")


def visit(field, kind):
    """The statement for a field that holds children or a position, or None."""
    if kind == "i32" and POSITIONS.fullmatch(field):
        return f"*{field} = 0"
    if kind in ("::core::option::Option<node::Node>", "::core::option::Option<a_const::Val>"):
        return None
    match = re.fullmatch(rf"::core::option::Option<{BOX}>", kind)
    if match:
        if match.group(1) == "Node":
            return f"node_in({field}, out)"
        return f"if let Some(message) = {field} {{ out.push(TreeMut::{match.group(1)}(message)) }}"
    match = re.fullmatch(r"::prost::alloc::vec::Vec<(\w+)>", kind)
    if match and match.group(1) == "Node":
        return f"nodes_in({field}, out)"
    if match and match.group(1) in messages:
        raise SystemExit(f"list of messages: {field}: {kind}")
    return None


print("""//! A parse tree to be changed: the way to every child, and every position erased. Made by `scripts/sql_tree_mut.py` from pg_query's own messages.
//!
//! The patterns name every field, so a pg_query with other fields does not compile. Nothing here recurses: a caller keeps
//! its own stack.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node};

/// A reference to any message of a parse tree, to change it.
#[rustfmt::skip]
pub(crate) enum TreeMut<'a> {""")
for _, message in variants:
    print(f"    {message}(&'a mut protobuf::{message}),")
print("""}

impl<'a> From<&'a mut NodeEnum> for TreeMut<'a> {
    #[rustfmt::skip]
    fn from(node: &'a mut NodeEnum) -> Self {
        match node {""")
for variant, message in variants:
    print(f"            NodeEnum::{variant}(message) => TreeMut::{message}(message),")
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
    arms.append(f"            TreeMut::{message}({pattern}) => {body}")
print("""impl<'a> TreeMut<'a> {
    /// Erases the node's own positions and appends its children, field by field.
    #[rustfmt::skip]
    pub(crate) fn unplaced_children(self, out: &mut Vec<TreeMut<'a>>) {
        match self {""")
print("\n".join(arms))
print("""        }
    }
}

/// The child in an optional node.
fn node_in<'a>(node: &'a mut Option<Box<Node>>, out: &mut Vec<TreeMut<'a>>) {
    out.extend(node.iter_mut().filter_map(|node| node.node.as_mut()).map(TreeMut::from));
}

/// The children in a list of nodes.
fn nodes_in<'a>(nodes: &'a mut [Node], out: &mut Vec<TreeMut<'a>>) {
    out.extend(nodes.iter_mut().filter_map(|node| node.node.as_mut()).map(TreeMut::from));
}""")
