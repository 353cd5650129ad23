#!/usr/bin/env bash
# psql: its own commands, COPY, cursors, cancel, and what people type. Prints a transcript that is the same on every run.
# PGWARDEN_STEPS=owner leaves out what the owner of a tenant's database may not do (differences.md).
set -uo pipefail
all=true
[ "${PGWARDEN_STEPS:-all}" = owner ] && all=false
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Process ids and clock times differ from run to run.
stable() { sed -E -e 's/PID [0-9]+/PID #/' -e 's/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) .*\(every/DATE (every/'; }

psql -X -a -v all=$all -f "$here/psql.sql" 2>&1 | stable

echo "== cancel"
psql -X -c "select pg_advisory_xact_lock(60), pg_sleep(60)" >cancel.out 2>&1 &
pid=$!
# Interrupt once the statement runs.
for _ in $(seq 100); do
  if [ "$(psql -XAtc "select pg_try_advisory_xact_lock(60)")" = f ]; then kill -INT $pid; break; fi
  sleep 0.05
done
wait $pid
echo "exit code $?"
cat cancel.out

echo "== a failing script stops"
printf 'select 1;\nselect nonsense;\nselect 2;\n' | psql -XAt -v ON_ERROR_STOP=1 2>&1
echo "exit code $?"

echo "== single transaction"
psql -XAt -1 -c "create table single (n int)" -c "insert into single values (1)" -c "select 1/0" 2>&1
echo "exit code $?"
psql -XAt -c "select to_regclass('single') is null"

echo "== options at startup"
PGOPTIONS="-c work_mem=7MB -c search_path=shop,public" psql -XAt -c "show work_mem" -c "show search_path"
PGAPPNAME="client test" PGTZ=Asia/Tokyo PGDATESTYLE="German" psql -XAt \
  -c "show application_name" -c "show timezone" -c "select timestamptz '2024-05-06 07:08:09+00'"
PGCLIENTENCODING=UTF8 psql -XAt -c "show client_encoding"

echo "== large input and output"
head -c 3000000 /dev/zero | tr '\0' 'x' >large.txt
psql -XAt -c "create table large (t text)"
psql -XAt -c "\\copy large from large.txt"
psql -XAt -c "select t from large" | md5sum
{ printf "select md5('"; cat large.txt; printf "')" ; } | psql -XAt -f - 2>&1 | head -c 300
echo
seq 1 50000 | psql -XAt -c "create table many (n int)" -c "copy many from stdin" -c "select sum(n) from many"
psql -XAt -c "copy (select n from many order by n) to stdout" | md5sum
psql -XAt -c "copy (select n from many order by n) to stdout (format binary)" | md5sum

# pg_dump begins with SET row_security = off, which a tenant may not.
if [ $all = true ]; then
  echo "== pg_dump"
  # The header names versions; the settings and the data are compared.
  pg_dump --no-comments --exclude-table='large' 2>&1 | grep -v -e '^-- Dumped' -e '^.restrict' -e '^.unrestrict' | md5sum
  pg_dump --format=custom --file=dump.bin 2>&1
  pg_restore --list dump.bin | grep -c TABLE
fi
exit 0
