"""What an index in Redis does on the server: Lua scripts, each of which runs alone.

Keys are made in the scripts from the prefix, ``ARGV[1]``.
"""

from __future__ import annotations

from typing import Final

_TERMS: Final = """
local p = ARGV[1]
local function forget(name)
  for _, term in ipairs(redis.call('SMEMBERS', p .. 'terms:' .. name)) do
    redis.call('SREM', p .. 'term:' .. term, name)
    if redis.call('EXISTS', p .. 'term:' .. term) == 0 then
      redis.call('ZREM', p .. 'term-keys', term)
    end
  end
  redis.call('DEL', p .. 'terms:' .. name)
  redis.call('SREM', p .. 'unindexed', name)
end
local function find_by(name, first)
  for i = first, #ARGV do
    redis.call('SADD', p .. 'term:' .. ARGV[i], name)
    redis.call('ZADD', p .. 'term-keys', 0, ARGV[i])
    redis.call('SADD', p .. 'terms:' .. name, ARGV[i])
  end
end
local function remove(name)
  local items = redis.call('LRANGE', p .. 'dataset:' .. name, 0, -1)
  for revision, item in ipairs(items) do
    local cid = string.match(item, '^(%S+) ')
    redis.call('ZREM', p .. 'cid:' .. cid, revision .. ' ' .. name)
  end
  redis.call('DEL', p .. 'dataset:' .. name)
  redis.call('ZREM', p .. 'names', name)
  forget(name)
  return #items
end
local function add(name, revision, cid, document)
  redis.call('RPUSH', p .. 'dataset:' .. name, cid .. ' ' .. document)
  redis.call('ZADD', p .. 'names', 0, name)
  redis.call('ZADD', p .. 'cid:' .. cid, redis.call('INCR', p .. 'added'), revision .. ' ' .. name)
end
"""
"""What several scripts share."""

ADD_SCHEMA: Final = """
local p, key, document = ARGV[1], ARGV[2], ARGV[3]
local there = redis.call('HGET', p .. 'schemas', key)
if there then return there end
redis.call('HSET', p .. 'schemas', key, document)
redis.call('ZADD', p .. 'schema-keys', 0, key)
return document
"""
SCHEMAS: Final = """
local p, found = ARGV[1], {}
local keys = redis.call('ZRANGEBYLEX', p .. 'schema-keys', ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
for _, key in ipairs(keys) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('HGET', p .. 'schemas', key)
end
return found
"""
ADD_ENTRY: Final = (
    _TERMS
    + """
local name, revision, cid, document = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('LLEN', p .. 'dataset:' .. name) ~= tonumber(revision) - 1 then return 0 end
add(name, revision, cid, document)
forget(name)
find_by(name, 6)
return 1
"""
)
REPLACE: Final = (
    _TERMS
    + """
local name, revision, cid, document = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
remove(name)
add(name, revision, cid, document)
find_by(name, 6)
"""
)
REMOVE: Final = _TERMS + "return remove(ARGV[2])"
NEWEST: Final = """
local list = ARGV[1] .. 'dataset:' .. ARGV[2]
local item = redis.call('LINDEX', list, -1)
if not item then return {} end
return {ARGV[2], redis.call('LLEN', list), item}
"""
ENTRY: Final = """
local p, cid = ARGV[1], ARGV[2]
local last = redis.call('ZRANGE', p .. 'cid:' .. cid, -1, -1)[1]
if not last then return {} end
local revision, name = string.match(last, '^(%d+) (.*)$')
local item = redis.call('LINDEX', p .. 'dataset:' .. name, tonumber(revision) - 1)
return {name, tonumber(revision), item}
"""
ENTRIES: Final = """
local p, found = ARGV[1], {}
local names = redis.call('ZRANGEBYLEX', p .. 'names', ARGV[2], '+', 'LIMIT', 0, ARGV[3])
for _, name in ipairs(names) do
  local list = p .. 'dataset:' .. name
  found[#found + 1] = name
  found[#found + 1] = redis.call('LLEN', list)
  found[#found + 1] = redis.call('LINDEX', list, -1)
end
return found
"""
SEARCH: Final = """
local p, t = ARGV[1], ARGV[1] .. 'found'
local found = nil
for i = 4, #ARGV do
  local term, terms = ARGV[i], {ARGV[i]}
  if string.sub(term, -1) == '*' then
    local stem = string.sub(term, 1, -2)
    terms = redis.call('ZRANGEBYLEX', p .. 'term-keys', '[' .. stem, '(' .. stem .. '\\255')
  end
  local both = {}
  for _, one in ipairs(terms) do
    for _, name in ipairs(redis.call('SMEMBERS', p .. 'term:' .. one)) do
      if found == nil or found[name] then both[name] = true end
    end
  end
  found = both
end
for name in pairs(found) do redis.call('ZADD', t, 0, name) end
local names, rows = redis.call('ZRANGEBYLEX', t, ARGV[2], '+', 'LIMIT', 0, ARGV[3]), {}
redis.call('DEL', t)
for _, name in ipairs(names) do
  local list = p .. 'dataset:' .. name
  rows[#rows + 1] = name
  rows[#rows + 1] = redis.call('LLEN', list)
  rows[#rows + 1] = redis.call('LINDEX', list, -1)
end
return rows
"""
UNINDEXED: Final = """
local p, rows = ARGV[1], {}
for _, name in ipairs(redis.call('SRANDMEMBER', p .. 'unindexed', ARGV[2])) do
  local list = p .. 'dataset:' .. name
  rows[#rows + 1] = name
  rows[#rows + 1] = redis.call('LLEN', list)
  rows[#rows + 1] = redis.call('LINDEX', list, -1)
end
return rows
"""
INDEX: Final = (
    _TERMS
    + """
local name, revision, item = ARGV[2], ARGV[3], ARGV[4]
if redis.call('SISMEMBER', p .. 'unindexed', name) == 0 then return end
local list = p .. 'dataset:' .. name
if redis.call('LLEN', list) ~= tonumber(revision) then return end
if redis.call('LINDEX', list, -1) ~= item then return end
forget(name)
find_by(name, 5)
"""
)
SET_NOTE: Final = """
local p, key = ARGV[1], ARGV[2]
if #ARGV == 2 then
  redis.call('HDEL', p .. 'notes', key)
  redis.call('ZREM', p .. 'note-keys', key)
else
  redis.call('HSET', p .. 'notes', key, ARGV[3])
  redis.call('ZADD', p .. 'note-keys', 0, key)
end
"""
ADD_NOTE: Final = """
local p, key, value = ARGV[1], ARGV[2], ARGV[3]
local there = redis.call('HGET', p .. 'notes', key)
if there then return there end
redis.call('HSET', p .. 'notes', key, value)
redis.call('ZADD', p .. 'note-keys', 0, key)
return value
"""
NOTES: Final = """
local p, found = ARGV[1], {}
local keys = redis.call('ZRANGEBYLEX', p .. 'note-keys', ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
for _, key in ipairs(keys) do
  found[#found + 1] = key
  found[#found + 1] = redis.call('HGET', p .. 'notes', key)
end
return found
"""
UPGRADE: Final = """
local p = ARGV[1]
if redis.call('GET', p .. 'format') ~= '1' then return end
for _, name in ipairs(redis.call('ZRANGE', p .. 'names', 0, -1)) do
  redis.call('SADD', p .. 'unindexed', name)
end
redis.call('SET', p .. 'format', '2')
"""
"""From version 1, which has no terms and no notes, to version 2."""
