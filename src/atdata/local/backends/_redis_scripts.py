"""Lua scripts of an index in Redis, each atomic.

Keys are made in the scripts from the prefix, ``ARGV[1]``. All but ``UPGRADE`` refuse a database
that is not an index any more, and say so where keys that belong together are not all there.
"""

from __future__ import annotations

from typing import Final

EMPTY: Final = "ATDATA-EMPTY"
LOST: Final = "ATDATA-LOST"
STALE: Final = -1
"""The pages changed since they were read."""
REMEMBERED_SECONDS: Final = 600
"""How long the answer to a write is kept: longer than any client tries."""

_HEAD: Final = f"""
local p = ARGV[1]
if redis.call('EXISTS', p .. 'format') == 0 then return redis.error_reply('{EMPTY}') end
local function lost(key) return redis.error_reply('{LOST} ' .. key .. ';') end
"""
_WRITING: Final = (
    _HEAD
    + f"""
local before = redis.call('GET', p .. 'done:' .. ARGV[3])
if before then return tonumber(before) end
local function done(answer)
  redis.call('SET', p .. 'done:' .. ARGV[3], answer, 'EX', {REMEMBERED_SECONDS})
  return answer
end
"""
    + """
local function stale() return (redis.call('GET', p .. 'term-version') or '0') ~= ARGV[2] end
local function write(first)
  local at = first + 1
  for _ = 1, tonumber(ARGV[first]) do
    local key = ARGV[at]
    redis.call('HSET', p .. 'term-pages', key, ARGV[at + 1])
    local kind = string.sub(key, 1, 1)
    if kind == 't' or kind == 'o' then redis.call('ZADD', p .. 'term-order', 0, key) end
    at = at + 2
  end
  for i = at, #ARGV do
    redis.call('HDEL', p .. 'term-pages', ARGV[i])
    redis.call('ZREM', p .. 'term-order', ARGV[i])
  end
  redis.call('INCR', p .. 'term-version')
end
local function remove(name)
  local items = redis.call('LRANGE', p .. 'dataset:' .. name, 0, -1)
  for revision, item in ipairs(items) do
    local cid = string.match(item, '^(%S+) ')
    redis.call('ZREM', p .. 'cid:' .. cid, revision .. ' ' .. name)
  end
  redis.call('DEL', p .. 'dataset:' .. name)
  redis.call('ZREM', p .. 'names', name)
  redis.call('ZREM', p .. 'unindexed', name)
  return #items
end
local function add(name, revision, cid, document)
  redis.call('RPUSH', p .. 'dataset:' .. name, cid .. ' ' .. document)
  redis.call('ZADD', p .. 'names', 0, name)
  redis.call('ZREM', p .. 'unindexed', name)
  redis.call('ZADD', p .. 'cid:' .. cid, redis.call('INCR', p .. 'added'), revision .. ' ' .. name)
end
"""
)
"""What writes entries, and the pages with them. A client whose answer was lost may send it again:
the token, ``ARGV[3]``, identifies the call, and the answer is the same."""

_LEAVING_PAGES: Final = {
    # A value of a hash whose keys are also in a sorted set, unless the key is taken.
    "ADD": """
local hash, order, key, value = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local there = redis.call('HGET', p .. hash, key)
local listed = redis.call('ZSCORE', p .. order, key)
if not there ~= not listed then return lost(there and order or hash) end
if there then return there end
redis.call('HSET', p .. hash, key, value)
redis.call('ZADD', p .. order, 0, key)
return value
""",
    # A range of such a hash, in order: key, value; key, value; …
    "RANGE": """
local hash, order = ARGV[2], ARGV[3]
local keys = redis.call(ARGV[4], p .. order, ARGV[5], ARGV[6], 'LIMIT', 0, ARGV[7])
if #keys == 0 and redis.call('EXISTS', p .. order) == 0 then
  if redis.call('EXISTS', p .. hash) == 1 then return lost(order) end
end
local found = {}
for _, key in ipairs(keys) do
  local value = redis.call('HGET', p .. hash, key)
  if not value then return lost(hash) end
  found[#found + 1] = key
  found[#found + 1] = value
end
return found
""",
    "NEWEST": """
local list = p .. 'dataset:' .. ARGV[2]
local item = redis.call('LINDEX', list, -1)
if not item then
  if redis.call('ZSCORE', p .. 'names', ARGV[2]) then return lost('dataset:' .. ARGV[2]) end
  return {}
end
return {ARGV[2], redis.call('LLEN', list), item}
""",
    "ENTRY": """
local last = redis.call('ZRANGE', p .. 'cid:' .. ARGV[2], -1, -1)[1]
if not last then return {} end
local revision, name = string.match(last, '^(%d+) (.*)$')
local item = redis.call('LINDEX', p .. 'dataset:' .. name, tonumber(revision) - 1)
if not item then return lost('dataset:' .. name) end
return {name, tonumber(revision), item}
""",
    # Of ``names``, or of those that are ``unindexed``.
    "ENTRIES": """
local names = redis.call('ZRANGEBYLEX', p .. ARGV[2], ARGV[3], '+', 'LIMIT', 0, ARGV[4])
local found, size = {}, 0
for _, name in ipairs(names) do
  local list = p .. 'dataset:' .. name
  local item = redis.call('LINDEX', list, -1)
  if not item then return lost('dataset:' .. name) end
  found[#found + 1] = name
  found[#found + 1] = redis.call('LLEN', list)
  found[#found + 1] = item
  size = size + #item
  if size >= tonumber(ARGV[5]) then break end
end
return found
""",
    "SET_NOTE": """
local key = ARGV[2]
if #ARGV == 2 then
  redis.call('HDEL', p .. 'notes', key)
  redis.call('ZREM', p .. 'note-keys', key)
else
  redis.call('HSET', p .. 'notes', key, ARGV[3])
  redis.call('ZADD', p .. 'note-keys', 0, key)
end
""",
    # Whether keys that belong together are all there, as far as a few looks say.
    "CHECK": """
if redis.call('HLEN', p .. 'schemas') ~= redis.call('ZCARD', p .. 'schema-keys') then
  return lost('schemas or schema-keys')
end
if redis.call('HLEN', p .. 'notes') ~= redis.call('ZCARD', p .. 'note-keys') then
  return lost('notes or note-keys')
end
local names, added = redis.call('ZCARD', p .. 'names'), redis.call('EXISTS', p .. 'added')
if names > 0 and added == 0 then return lost('added') end
if redis.call('GET', p .. 'format') == '3' and names > redis.call('ZCARD', p .. 'unindexed') then
  for _, key in ipairs({'term-pages', 'term-order', 'term-version'}) do
    if redis.call('EXISTS', p .. key) == 0 then return lost(key) end
  end
end
return 1
""",
}
_CHANGING_PAGES: Final = {
    "ADD_ENTRY": """
local name, revision, cid, document = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if redis.call('LLEN', p .. 'dataset:' .. name) ~= tonumber(revision) - 1 then return 0 end
if stale() then return -1 end
add(name, revision, cid, document)
write(8)
return done(1)
""",
    "REPLACE": """
local name, revision, cid, document = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if stale() then return -1 end
remove(name)
add(name, revision, cid, document)
write(8)
return done(1)
""",
    "REMOVE": """
if redis.call('LLEN', p .. 'dataset:' .. ARGV[4]) == 0 then
  if redis.call('ZSCORE', p .. 'names', ARGV[4]) then return lost('dataset:' .. ARGV[4]) end
  return 0
end
if stale() then return -1 end
write(5)
return done(remove(ARGV[4]))
""",
    "INDEX": """
local count = tonumber(ARGV[4])
if stale() then return -1 end
for i = 5, 4 + count do redis.call('ZREM', p .. 'unindexed', ARGV[i]) end
write(5 + count)
return done(1)
""",
}
_UPGRADE: Final = """
local p = ARGV[1]
if redis.call('TYPE', p .. 'unindexed').ok == 'set' then redis.call('DEL', p .. 'unindexed') end
local names = redis.call('ZRANGEBYLEX', p .. 'names', ARGV[2], '+', 'LIMIT', 0, 1000)
for _, name in ipairs(names) do
  redis.call('ZADD', p .. 'unindexed', 0, name)
  redis.call('UNLINK', p .. 'terms:' .. name)
end
local terms = redis.call('ZRANGE', p .. 'term-keys', 0, 999)
for _, term in ipairs(terms) do
  redis.call('UNLINK', p .. 'term:' .. term)
  redis.call('ZREM', p .. 'term-keys', term)
end
if #names == 0 and #terms == 0 then
  local format = redis.call('GET', p .. 'format')
  if format == '1' or format == '2' then redis.call('SET', p .. 'format', '3') end
  return {}
end
return {names[#names] or string.sub(ARGV[2], 2)}
"""
"""From versions 1 and 2 to version 3, a thousand names at a time; twice is as good as once."""
SCRIPTS: Final = {
    **{name: _HEAD + script for name, script in _LEAVING_PAGES.items()},
    **{name: _WRITING + script for name, script in _CHANGING_PAGES.items()},
    "UPGRADE": _UPGRADE,
}
"""Every script by its name."""
