/**
 * The scripts that decide on Redis. How the client writes and reads what they speak stands in `redis-wire.ts`.
 *
 * What is stored under a key is a string of JSON that can be read in redis-cli. Its fields stand in a fixed order, so
 * that "is it this lease's?" is a comparison of texts. The state of a lease is "running", or "awaited" from when someone
 * found it held who is to be told of its end: a word of the same length. Any other value counts as held, by a foreigner.
 * Nothing newer than Redis 6.2 is used. Time is the server's, and stands still within a script.
 */

/** All releases, renewals and claims of a batch, one atomic step each. */
export const EXCHANGE_LUA = `
-- KEYS      one a step; more are padding
-- ARGV[1]   how many groups of steps there are
-- then      of each group: 'release', 'renew', 'claim' or 'wait' (a claim whose holder is to be marked as awaited);
--           how many steps; the ms that they share
--           (for which a released key is kept as done, 0: not at all; for which a lease lasts)
-- then      of each step a part of its record: the token, to know its own by; of a claim the token to the owner
-- returns   the fence of all that was plainly taken, a mark for each step, then an answer for each mark that is '+'.
--           (Clients are slow to read many numbers, and a hot key has many duplicates.)
--           '1' done, taken; '0' not held under this token; '=' the answer of the last '+' once more; '+' a claim's
--           fence, where it is another; the negative fence if it took over from its own owner;
--           { 'held', value, ms left } if it did not take; of any step { 'error', message } if Redis could not do it.
local try, find, match, sub = redis.pcall, string.find, string.match, string.sub
local RUNNING, DONE = '{"once":1,"state":"running","token":', '{"once":1,"state":"done","token":'
-- The end of every record, by which its fence is found.
local FENCE = '"fence":(%d+),"since":%d+}$'
-- A token stands here in the record of a lease, and nowhere near in others: they have none, or have it elsewhere.
local TOKEN_AT = #RUNNING + 1
local AWAITED, STATE_AT = 'awaited', 20
local A = string.byte(AWAITED)
local groups = tonumber(ARGV[1])
local parts = groups * 3 + 1

local marks, reply = {}, { 0, '' }
-- What was let go of here. Time stands still in a script: a key that is taken again needs a fence above the one it had.
local released = {}
-- The answers about keys that were found held: they stay so as long as the script runs.
local met = {}

local function answer(i, more)
  marks[i] = '+'
  reply[#reply + 1] = more
end

local function failed(result)
  return type(result) == 'table' and result.err and { 'error', result.err }
end

local function mark(i, failure)
  if failure then answer(i, failure) else marks[i] = '1' end
end

-- What is stored under the keys of some steps; of another type as if nothing were. Second, why it can't be read.
local function readAll(first, last)
  local values = try('MGET', unpack(KEYS, first, last))
  return values, failed(values)
end

local function release(first, last, keepFor)
  local values, failure = readAll(first, last)
  local free, awaited = {}, {}
  for i = first, last do
    local key, value = KEYS[i], values[i - first + 1]
    if failure then
      answer(i, failure)
    elseif not value or released[key] or find(value, ARGV[parts + i], TOKEN_AT, true) ~= TOKEN_AT then
      marks[i] = '0'
    else
      released[key] = value
      marks[i] = '1'
      if keepFor == '0' then
        free[#free + 1] = key
        if string.byte(value, STATE_AT) == A then awaited[#awaited + 1] = key end
      else
        mark(i, failed(try('SET', key, DONE .. sub(value, TOKEN_AT), 'PX', keepFor)))
      end
    end
  end
  failure = #free > 0 and failed(try('DEL', unpack(free)))
  if failure then
    for i = first, last do
      if marks[i] == '1' then answer(i, failure) end
    end
    return
  end
  -- Told are those who listen to a channel of the key's name.
  for i = 1, #awaited do try('PUBLISH', awaited[i], '') end
end

local function renew(first, last, ttl)
  local values, failure = readAll(first, last)
  for i = first, last do
    local value = values[i - first + 1]
    if failure then
      answer(i, failure)
    elseif not value or find(value, ARGV[parts + i], TOKEN_AT, true) ~= TOKEN_AT then
      marks[i] = '0'
    else
      mark(i, failed(try('PEXPIRE', KEYS[i], ttl)))
    end
  end
end

-- The time in microseconds is the fence of what is taken now. Read once, and only where something is claimed.
local now, ends

local function ending(fence)
  return string.format(',"fence":%.0f,"since":%.0f}', fence, math.floor(now / 1000))
end

local function readClock()
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
  ends = ending(now)
  reply[1] = now
end

-- The fence of a stored record that a claim may take over: one of its own owner, for no newer run.
local function mayTakeOver(stored, part)
  if sub(stored, 1, #DONE) == DONE then return nil end
  -- Only between two fields do a quote and a comma stand before a quote: those in a token or an owner are escaped.
  local attempt, owner = match(part, '","attempt":(%d+)(,"owner":".*")$')
  if not owner or not find(stored, owner .. ',"fence":', 1, true) then return nil end
  local theirs, fence = match(stored, '","attempt":(%d+),"owner":".*",' .. FENCE)
  return theirs and tonumber(theirs) <= tonumber(attempt) and tonumber(fence)
end

-- What is said of a key that is held, or why it can't be read.
local function look(key)
  local stored = try('GET', key)
  if type(stored) == 'table' then
    if sub(stored.err, 1, 9) ~= 'WRONGTYPE' then return failed(stored) end
    stored = ''
  end
  if sub(stored, 1, 10) ~= '{"once":1,' then stored = sub(stored, 1, 100) end
  met[key] = { 'held', stored, redis.call('PTTL', key) }
  return met[key]
end

-- Answers a claim that finds its key held.
local function meet(key, part, ttl)
  local holder = met[key] or look(key)
  if holder[1] == 'error' then return holder end
  local stored = holder[2]
  if find(stored, part, TOKEN_AT, true) == TOKEN_AT then
    -- The same claim, sent again because its answer got lost.
    met[key] = nil
    return failed(try('PEXPIRE', key, ttl)) or tonumber(match(stored, FENCE))
  end
  local fence = mayTakeOver(stored, part)
  if fence then
    met[key] = nil
    fence = math.max(now, fence + 1)
    return failed(try('SET', key, sub(stored, 1, #RUNNING) .. part .. ending(fence), 'PX', ttl)) or -fence
  end
  return holder
end

local function claim(first, last, ttl)
  if not now then readClock() end
  for i = first, last do
    local key, part = KEYS[i], ARGV[parts + i]
    local fence, rest = now, ends
    if released[key] then
      fence = math.max(now, match(released[key], FENCE) + 1)
      rest = ending(fence)
    end
    local set = not met[key] and try('SET', key, RUNNING .. part .. rest, 'NX', 'PX', ttl)
    if not set then
      local more = meet(key, part, ttl)
      if more == reply[#reply] then marks[i] = '=' else answer(i, more) end
    elseif set.err or fence ~= now then
      answer(i, failed(set) or fence)
    else
      marks[i] = '1'
    end
  end
end

local function wait(first, last, ttl)
  claim(first, last, ttl)
  for i = first, last do
    local holder = met[KEYS[i]]
    if holder and sub(holder[2] or '', 1, #RUNNING) == RUNNING then
      -- It lasts as long as before. Where it can't be written, who waits asks now and then.
      try('SETRANGE', KEYS[i], STATE_AT - 1, AWAITED)
    end
  end
end

local steps = { release = release, renew = renew, claim = claim, wait = wait }
local first = 1
for group = 2, groups * 3, 3 do
  local last = first + ARGV[group + 1] - 1
  steps[ARGV[group]](first, last, ARGV[group + 2])
  first = last + 1
end

reply[2] = table.concat(marks)
return reply
`;

/** Tells what is stored under a key, and for how long. */
export const INSPECT_LUA = `
-- KEYS     the keys to look at; more than ARGV[1] are padding
-- ARGV[1]  how many
-- returns  for each: { value, ms left (-1: for ever) }, or 0 where nothing is stored
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local stored = redis.pcall('GET', KEYS[i])
  if type(stored) == 'table' then
    if string.sub(stored.err, 1, 9) ~= 'WRONGTYPE' then return stored end
    stored = ''
  end
  answers[i] = stored and { stored, redis.call('PTTL', KEYS[i]) } or 0
end
return answers
`;

/** Lists some of the names that a server has, at one go. */
export const SCAN_LUA = `
-- KEYS     one, which says whose names are meant where there are several servers
-- ARGV     the cursor, the pattern, how many to look at
-- returns  the next cursor, '0' when all were seen; some names
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
`;

/** Lets go of keys, whoever holds them. */
export const EVICT_LUA = `
-- KEYS     those to let go of; more than ARGV[1] are padding
-- ARGV[1]  how many
-- returns  1 or 0 for each: whether a lock was there
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local stored = redis.pcall('GET', KEYS[i])
  answers[i] = 0
  if type(stored) == 'string' and string.sub(stored, 1, 10) == '{"once":1,' then
    answers[i] = redis.call('DEL', KEYS[i])
    if string.sub(stored, 20, 26) == 'awaited' then redis.pcall('PUBLISH', KEYS[i], '') end
  end
end
return answers
`;

/** Writes down which job is the newest that came for each key. What is stored is its order, '+' if it waits, else '-', its owner. */
export const ANNOUNCE_LUA = `
-- KEYS     one an arrival; more are padding
-- ARGV[1]  how many
-- then     of each: its order, 1 if it is a rerun, '+' if it waits, else '-', its owner, the ms to remember it
-- returns  for each: { the newest's owner, '+' or '-', the owner it has outdone if that waits, else '' }; or { 'error', message }
local answers = {}

local function isNewer(order, than, rerun)
  if order == than then return rerun ~= '1' end
  return order > than
end

local function announce(key, order, rerun, waits, owner, ms)
  local stored = redis.pcall('GET', key)
  if type(stored) == 'table' then return { 'error', stored.err } end
  -- Nothing here has a space in it but an owner.
  local theirs, theyWait, them = string.match(stored or '', '^(%S+) ([+-]) (.*)$')
  local left = math.max(redis.call('PTTL', key), tonumber(ms))
  if theirs and them ~= owner and not isNewer(order, theirs, rerun) then
    redis.pcall('PEXPIRE', key, left)
    return { them, theyWait, '' }
  end
  local set = redis.pcall('SET', key, order .. ' ' .. waits .. ' ' .. owner, 'PX', left)
  if set.err then return { 'error', set.err } end
  return { owner, waits, theyWait == '+' and them ~= owner and them or '' }
end

for i = 1, tonumber(ARGV[1]) do
  answers[i] = announce(KEYS[i], unpack(ARGV, i * 5 - 3, i * 5 + 1))
end
return answers
`;
