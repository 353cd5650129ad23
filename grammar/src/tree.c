/*
 * A text's parse tree as the bytes of pg_query.proto's message ParseResult, written while the tree is walked.
 *
 * libpg_query builds the whole message in memory and has upb encode it, which looks at all 270 members of the message Node for
 * each node. The walk itself is libpg_query's: pg_query_outfuncs_defs.c names, for each kind of node, its fields in order, and
 * leaves to its includer, by macros, what is done with them. Numbers of fields are in pg_query_fields.h, made from
 * pg_query.proto when this is compiled (FIELD_<message>_<field>).
 *
 * The wire format: https://protobuf.dev/programming-guides/encoding/. As proto3 says, a field that has its type's default is
 * left out, except in a oneof.
 */
#include "pg_query.h"
#include "pg_query_internal.h"

#include "postgres.h"

#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "nodes/value.h"
#include "parser/parser.h"
#include "utils/memutils.h"

#include "pg_query_fields.h"

/* What pgwarden_grammar_parse returns; data or message is NULL. Both are malloc'ed. */
typedef struct
{
	char	   *data;
	size_t		length;
	char	   *message;
	/* Where in the text an error is, in characters from 1; 0 where it is not known. */
	int			position;
}			PgwGrammarTree;

PgwGrammarTree pgwarden_grammar_parse(const char *text);

/* The bytes, while they are written. One tree is written at a time in a thread. */
typedef struct
{
	char	   *data;
	size_t		length;
	size_t		capacity;
	/* Messages that are open. */
	int			depth;
}			Output;

static __thread Output output;

/* Small enough for an allocation to be cheap, and enough for most statements. */
#define CAPACITY_FIRST 1000

/* A varint has 7 bits a byte. */
#define VARINT_MAX 10

/*
 * Messages get one byte for their length, and are moved if it takes more. Deeper ones get LENGTH_DEEP bytes, so that
 * nothing is moved once for each of thousands of levels.
 */
#define DEPTH_MOVED 100
#define LENGTH_DEEP 5

#define WIRE_VARINT 0
#define WIRE_FIXED64 1
#define WIRE_BYTES 2

/* Room for so many bytes more. */
static inline char *
reserve(size_t more)
{
	if (unlikely(output.capacity - output.length < more))
	{
		size_t		capacity = output.capacity * 2;
		char	   *data;

		while (capacity - output.length < more)
			capacity *= 2;
		data = realloc(output.data, capacity);
		if (data == NULL)
			elog(ERROR, "memory exhausted");
		output.data = data;
		output.capacity = capacity;
	}
	return output.data + output.length;
}

static inline char *
put_varint(char *at, uint64 value)
{
	while (value >= 0x80)
	{
		*at++ = (char) (value | 0x80);
		value >>= 7;
	}
	*at++ = (char) value;
	return at;
}

static inline void
write_number(uint32 field, uint64 value)
{
	if (value != 0)
	{
		char	   *at = put_varint(reserve(2 * VARINT_MAX), field << 3 | WIRE_VARINT);

		output.length = put_varint(at, value) - output.data;
	}
}

static inline void
write_double(uint32 field, double value)
{
	uint64		bits;

	memcpy(&bits, &value, sizeof bits);
	if (bits != 0)
	{
		char	   *at = put_varint(reserve(VARINT_MAX + 8), field << 3 | WIRE_FIXED64);

		for (int byte = 0; byte < 8; byte++)
			*at++ = (char) (bits >> 8 * byte);
		output.length = at - output.data;
	}
}

static inline void
write_bytes(uint32 field, const char *bytes, size_t length)
{
	if (length != 0)
	{
		char	   *at = put_varint(reserve(2 * VARINT_MAX + length), field << 3 | WIRE_BYTES);

		at = put_varint(at, length);
		memcpy(at, bytes, length);
		output.length = at + length - output.data;
	}
}

static inline void
write_string(uint32 field, const char *string)
{
	if (string != NULL)
		write_bytes(field, string, strlen(string));
}

/* Begins a message; close_message() takes what this returns. */
static inline size_t
open_message(uint32 field)
{
	char	   *at;

	if (++output.depth >= PG_QUERY_PROTOBUF_MAX_DEPTH)
		elog(ERROR, "parse tree is nested too deeply to serialize to protobuf");
	at = put_varint(reserve(VARINT_MAX + LENGTH_DEEP), field << 3 | WIRE_BYTES);
	output.length = at - output.data + (output.depth <= DEPTH_MOVED ? 1 : LENGTH_DEEP);
	return output.length;
}

static inline void
close_message(size_t begin)
{
	size_t		length = output.length - begin;
	int			depth = output.depth--;

	if (likely(depth <= DEPTH_MOVED && length < 0x80))
		output.data[begin - 1] = (char) length;
	else if (depth <= DEPTH_MOVED)
	{
		char		bytes[VARINT_MAX];
		size_t		more = put_varint(bytes, length) - bytes - 1;

		reserve(more);
		memmove(output.data + begin + more, output.data + begin, length);
		memcpy(output.data + begin - 1, bytes, more + 1);
		output.length += more;
	}
	else
	{
		/* A varint may have more bytes than it needs. */
		char	   *at = output.data + begin - LENGTH_DEEP;

		for (int byte = 0; byte < LENGTH_DEEP - 1; byte++)
			at[byte] = (char) (length >> 7 * byte | 0x80);
		at[LENGTH_DEEP - 1] = (char) (length >> 7 * (LENGTH_DEEP - 1));
	}
}

/* Functions of the walk get no place to write to: there is one for all. */
#define OUT_TYPE(typename, typename_c) void *

/* What follows is what pg_query_outfuncs_defs.c and pg_query_outfuncs_conds.c ask for. */

#define OUT_NODE(typename, typename_c, typename_underscore, typename_underscore_upcase, typename_cast, fldname) \
  { \
    size_t __begin = open_message(FIELD_Node_##fldname); \
    _out##typename_c(NULL, (const typename_cast *) obj); \
    close_message(__begin); \
  }

#define FIELD(msgtype, outname) FIELD_##msgtype##_##outname

/* Negative numbers are extended to 64 bits. */
#define WRITE_INT_FIELD(msgtype, outname, outname_json, fldname) \
	write_number(FIELD(msgtype, outname), (uint64) (int64) (int32) node->fldname);
#define WRITE_UINT_FIELD(msgtype, outname, outname_json, fldname) \
	write_number(FIELD(msgtype, outname), (uint32) node->fldname);
#define WRITE_UINT64_FIELD(msgtype, outname, outname_json, fldname) \
	write_number(FIELD(msgtype, outname), (uint64) node->fldname);
#define WRITE_LONG_FIELD(msgtype, outname, outname_json, fldname) \
	write_number(FIELD(msgtype, outname), (uint64) (int64) node->fldname);
#define WRITE_FLOAT_FIELD(msgtype, outname, outname_json, fldname) \
	write_double(FIELD(msgtype, outname), node->fldname);
#define WRITE_BOOL_FIELD(msgtype, outname, outname_json, fldname) \
	write_number(FIELD(msgtype, outname), node->fldname ? 1 : 0);
#define WRITE_ENUM_FIELD(msgtype, enumtype, outname, outname_json, fldname) \
	write_number(FIELD(msgtype, outname), (uint64) (int64) _enumToInt##enumtype(node->fldname));

#define WRITE_CHAR_FIELD(msgtype, outname, outname_json, fldname) \
	if (node->fldname != 0) { \
		char __char = node->fldname; \
		write_bytes(FIELD(msgtype, outname), &__char, 1); \
	}

#define WRITE_STRING_FIELD(msgtype, outname, outname_json, fldname) \
	write_string(FIELD(msgtype, outname), node->fldname);

#define WRITE_LIST_FIELD(msgtype, outname, outname_json, fldname) \
	write_list(FIELD(msgtype, outname), node->fldname);

/* Packed, as proto3 has it. */
#define WRITE_BITMAPSET_FIELD(msgtype, outname, outname_json, fldname) \
	if (!bms_is_empty(node->fldname)) { \
		size_t __begin = open_message(FIELD(msgtype, outname)); \
		int __x = -1; \
		while ((__x = bms_next_member(node->fldname, __x)) >= 0) \
			output.length = put_varint(reserve(VARINT_MAX), __x) - output.data; \
		close_message(__begin); \
	}

#define WRITE_NODE_FIELD(msgtype, outname, outname_json, fldname) \
	write_node(FIELD(msgtype, outname), &node->fldname);

#define WRITE_NODE_PTR_FIELD(msgtype, outname, outname_json, fldname) \
	if (node->fldname != NULL) { \
		write_node(FIELD(msgtype, outname), node->fldname); \
	}

#define WRITE_SPECIFIC_NODE_FIELD(msgtype, typename, typename_underscore, outname, outname_json, fldname) \
	{ \
		size_t __begin = open_message(FIELD(msgtype, outname)); \
		_out##typename(NULL, &node->fldname); \
		close_message(__begin); \
	}

/* Goes round _outNode, which checks the stack's depth. */
#define WRITE_SPECIFIC_NODE_PTR_FIELD(msgtype, typename, typename_underscore, outname, outname_json, fldname) \
	if (node->fldname != NULL) { \
		size_t __begin; \
		check_stack_depth(); \
		__begin = open_message(FIELD(msgtype, outname)); \
		_out##typename(NULL, node->fldname); \
		close_message(__begin); \
	}

static void _outNode(const void *obj);

static void
write_node(uint32 field, const void *obj)
{
	size_t		begin = open_message(field);

	_outNode(obj);
	close_message(begin);
}

static void
write_list(uint32 field, const List *list)
{
	const ListCell *lc;

	foreach(lc, list)
		write_node(field, lfirst(lc));
}

static void
_outList(void *out, const List *node)
{
	write_list(FIELD_List_items, node);
}

static void
_outIntList(void *out, const List *node)
{
	write_list(FIELD_IntList_items, node);
}

static void
_outOidList(void *out, const List *node)
{
	write_list(FIELD_OidList_items, node);
}

static void
_outInteger(void *out, const Integer *node)
{
	write_number(FIELD_Integer_ival, (uint64) (int64) node->ival);
}

static void
_outFloat(void *out, const Float *node)
{
	write_string(FIELD_Float_fval, node->fval);
}

static void
_outBoolean(void *out, const Boolean *node)
{
	write_number(FIELD_Boolean_boolval, node->boolval ? 1 : 0);
}

static void
_outString(void *out, const String *node)
{
	write_string(FIELD_String_sval, node->sval);
}

static void
_outBitString(void *out, const BitString *node)
{
	write_string(FIELD_BitString_bsval, node->bsval);
}

#define OUT_VALUE(typename, fldname) \
	{ \
		size_t __begin = open_message(FIELD_A_Const_##fldname); \
		_out##typename(NULL, &node->val.fldname); \
		close_message(__begin); \
	}

static void
_outAConst(void *out, const A_Const *node)
{
	write_number(FIELD_A_Const_isnull, node->isnull ? 1 : 0);
	write_number(FIELD_A_Const_location, (uint64) (int64) node->location);

	if (node->isnull)
		return;
	switch (nodeTag(&node->val.node))
	{
		case T_Integer:
			OUT_VALUE(Integer, ival);
			break;
		case T_Float:
			OUT_VALUE(Float, fval);
			break;
		case T_Boolean:
			OUT_VALUE(Boolean, boolval);
			break;
		case T_String:
			OUT_VALUE(String, sval);
			break;
		case T_BitString:
			OUT_VALUE(BitString, bsval);
			break;
		default:
			elog(ERROR, "a constant of an unknown type: %d", (int) nodeTag(&node->val.node));
	}
}

#include "pg_query_enum_defs.c"
#include "pg_query_outfuncs_defs.c"

static void
_outNode(const void *obj)
{
	check_stack_depth();

	/* A list may have empty places. */
	if (obj == NULL)
		return;

	switch (nodeTag(obj))
	{
		#include "pg_query_outfuncs_conds.c"

		default:
			elog(ERROR, "could not write unrecognized node type: %d", (int) nodeTag(obj));
	}
}

/* Reads a text as the body of a Query message is read, and writes its tree. */
PgwGrammarTree
pgwarden_grammar_parse(const char *text)
{
	PgwGrammarTree result = {0};
	MemoryContext context = pg_query_enter_memory_context();

	output.data = malloc(CAPACITY_FIRST);
	output.length = 0;
	output.capacity = CAPACITY_FIRST;
	output.depth = 0;

	PG_TRY();
	{
		const ListCell *lc;
		List	   *statements;

		if (output.data == NULL)
			elog(ERROR, "memory exhausted");

		/* As pg_query_raw_parse has them when no option is given. */
		backslash_quote = BACKSLASH_QUOTE_SAFE_ENCODING;
		standard_conforming_strings = true;
		escape_string_warning = true;

		statements = raw_parser(text, RAW_PARSE_DEFAULT);

		write_number(FIELD_ParseResult_version, PG_VERSION_NUM);
		foreach(lc, statements)
		{
			size_t		begin = open_message(FIELD_ParseResult_stmts);

			_outRawStmt(NULL, lfirst(lc));
			close_message(begin);
		}
		result.data = output.data;
		result.length = output.length;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		free(output.data);
		result.message = strdup(error->message != NULL ? error->message : "");
		result.position = error->cursorpos;
		FlushErrorState();
	}
	PG_END_TRY();

	output.data = NULL;
	pg_query_exit_memory_context(context);
	return result;
}
