/**
 * The scripts that decide on Redis. `protocol.ts` writes their arguments and reads their replies.
 *
 * Nothing newer than Redis 6.2 is used. Time is the server's, and stands still within a script.
 */

import { FEW_STEPS, FEW_STEPS_LUA } from './few-steps.ts';
import { DONE, LOCK, RUNNING, STATE_AT, TOKEN_AT } from './record-text.ts';

/** What every script that decides on locks knows of their records. */
export const RECORDS_LUA: string = `
local try, find, match, sub = redis.pcall, string.find, string.match, string.sub
local LOCK, RUNNING, DONE = '${LOCK}', '${RUNNING}', '${DONE}'
local RESERVED, WITH_RESULT = '{"once":1,"state":"reserved","grace":', '{"once":1,"state":"done","resultBytes":'
-- A token stands here in the record of a lease, and nowhere near in others: they have none, or have it elsewhere.
local TOKEN_AT, STATE_AT, AWAITED = ${TOKEN_AT}, ${STATE_AT}, 'awaited'
`;

/** Whether a lock wrote what is stored, as `parseStored` of `lock-rules.ts` decides it: JavaScript counts no further than 2^53. */
const IS_LOCK_LUA = `
local STATES = { running = true, awaited = true, reserved = true, done = true }
local function isLock(stored)
  local state, fence = string.match(stored, '^{"once":1,"state":"(%l+)",.*,"ttl":%d+,.*"fence":(%d+),"since":%d+}$')
  return STATES[state] and tonumber(fence) < 9007199254740992
end
`;

/** Ends the record of a lease. Needs the time in microseconds, which is the fence of what is acquired now. */
export const ENDING_LUA: string = `
local function ending(fence)
  return string.format(',"fence":%.0f,"since":%.0f}', fence, math.floor(now / 1000))
end
`;

/** Answers an acquisition that finds its key held. Needs the time too, and {@link ENDING_LUA}. */
export const HELD_LUA: string = `
${IS_LOCK_LUA}
local function failure(result)
  return type(result) == 'table' and result.err and { 'error', result.err }
end

-- The fence of what is stored, where a step may reclaim it: a lease of its own owner, or a reservation, by an older run, or where
-- runs are not counted.
local function reclaimable(stored, part)
  -- Only between two fields does a comma stand before a quote: those in a token or an owner are escaped.
  local owner = sub(part, (find(part, ',"owner":', 1, true)))
  if not find(stored, owner .. ',"fence":', 1, true) then return nil end
  if sub(stored, STATE_AT, STATE_AT + 3) == 'done' or not isLock(stored) then return nil end
  local attempt = match(part, '"attempt":(%d+),')
  local theirs, fence = match(stored, '","ttl":%d+,"attempt":(%d+),.*","fence":(%d+),"since":%d+}$')
  if not theirs then return nil end
  local isNewer = tonumber(theirs) < tonumber(attempt) or (theirs == '0' and attempt == '0')
  return isNewer and tonumber(fence)
end

local function fenceOf(place)
  return tonumber(match(place.record, '"fence":(%d+),"since":%d+}$')) or 0
end

local function clockMs()
  local clock = redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end

-- Notifies those who wait for a key that a lease of it was released.
local function notifyReleased(key, record)
  if sub(record, STATE_AT, STATE_AT + #AWAITED - 1) == AWAITED then try('PUBLISH', key, '') end
end

-- Who holds the places of a key: of each its record, how many ms it has left, its field in the hash. Only a key with several places has
-- fields. A value that no lock wrote counts as one holder with an empty record.
local function readPlaces(key)
  local stored = try('GET', key)
  if not stored then return {} end
  if type(stored) == 'string' then
    -- A foreign value may be long, and nobody reads it.
    if sub(stored, 1, #LOCK) ~= LOCK then stored = '' end
    return { { record = stored, left = redis.call('PTTL', key) } }
  end
  if sub(stored.err, 1, 9) ~= 'WRONGTYPE' then return nil, failure(stored) end
  local fields = try('HGETALL', key)
  local ms = clockMs()
  local places, ended = {}, {}
  for i = 2, #fields, 2 do
    local ends, record = match(fields[i], '^(%d+) (.*)$')
    if not ends or sub(record, 1, #LOCK) ~= LOCK then fields.err = true break end
    if ends - ms > 0 then places[#places + 1] = { record = record, left = ends - ms, field = fields[i - 1] }
    else ended[#ended + 1] = fields[i - 1] end
  end
  if fields.err then return { { record = '', left = redis.call('PTTL', key) } } end
  if #ended > 0 then redis.call('HDEL', key, unpack(ended)) end
  -- In the order in which they acquired it.
  table.sort(places, function(a, b) return fenceOf(a) < fenceOf(b) end)
  return places
end

-- Stores a record under its token in a hash that is there, or is made.
local function setPlace(key, token, record, ttl)
  local ends = clockMs() + ttl
  local set = try('HSET', key, token, string.format('%.0f ', ends) .. record)
  if type(set) == 'table' then return failure(set) end
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end

-- The token of a record, or of its part from the token on, as a holder is named in the hash.
local function tokenOf(record)
  return match(record, '"token":(.-)"ttl":') or match(record, '^(.-)"ttl":')
end

-- Adds a holder beside others. A key that had one place until now becomes a hash.
local function addPlace(key, held, token, record, ttl)
  local first = held[1]
  if first and not first.field then
    redis.call('DEL', key)
    local problem = setPlace(key, tokenOf(first.record), first.record, first.left)
    if problem then return problem end
  end
  return setPlace(key, token, record, ttl)
end

local function replacePlace(key, place, token, record, ttl)
  if not place.field then return failure(try('SET', key, record, 'PX', ttl)) end
  if place.field ~= token then redis.call('HDEL', key, place.field) end
  return setPlace(key, token, record, ttl)
end

local function removePlace(key, place)
  local removed = place.field and try('HDEL', key, place.field) or try('DEL', key)
  return failure(removed)
end

-- Who holds a key: { 'held', value, ms left }, or why it can't be read: { 'error', message }; nil if it is free after all. Of several
-- holders the one that the step may reclaim, else the first.
local function readHolder(key, part)
  local places, problem = readPlaces(key)
  if problem then return problem end
  local place = places[1]
  if not place then return nil end
  for i = 2, #places do
    if reclaimable(places[i].record, part) then place = places[i] end
  end
  return { 'held', place.record, place.left, place = place, lastFence = fenceOf(places[#places]) }
end

-- returns the answer: the fence if it is acquired all the same, negative if it is reclaimed; the holder if it is refused
local function acquireHeld(key, part, ttl, holder)
  local stored = holder[2]
  if holder[1] == 'error' or stored == '' then return holder end
  if find(stored, part, TOKEN_AT, true) == TOKEN_AT and isLock(stored) then
    -- The same step, sent again because its answer got lost.
    return replacePlace(key, holder.place, holder.place.field, stored, ttl)
      or tonumber(match(stored, '"fence":(%d+),"since":%d+}$'))
  end
  local fence = reclaimable(stored, part)
  if not fence then return holder end
  -- Of several places another may have a later one.
  fence = math.max(now, fence + 1, (holder.lastFence or 0) + 1)
  -- A reservation was ended by its run. What still has its token was not.
  local head, sign = sub(stored, 1, #RUNNING), -1
  if sub(stored, STATE_AT, STATE_AT + 7) == 'reserved' then head, sign = RUNNING, 1 end
  return replacePlace(key, holder.place, tokenOf(part), head .. part .. ending(fence), ttl) or sign * fence
end

-- Marks a lease, so that its release is notified. It lasts as long as before. Where it can't be marked, those who wait ask now
-- and then.
local function markPlaceAwaited(key, place)
  if sub(place.record, 1, #RUNNING) ~= RUNNING or not isLock(place.record) then return end
  local record = sub(place.record, 1, STATE_AT - 1) .. AWAITED .. sub(place.record, STATE_AT + #AWAITED)
  local problem
  if place.field then problem = setPlace(key, place.field, record, place.left)
  else problem = failure(try('SETRANGE', key, STATE_AT - 1, AWAITED)) end
  if not problem then place.record = record end
end

-- Marks who was found. The next step of a batch finds it so.
local function markHolderAwaited(key, holder)
  if holder[1] ~= 'held' then return end
  markPlaceAwaited(key, holder.place)
  holder[2] = holder.place.record
end
`;

/** Keeps a result. */
export const KEEP_LUA: string = `
-- A key's result is the first member of a sorted set, an 'r' and its text with the score 0. Those who share it stand behind it: who has
-- come for it with the score 1, the others by the time in microseconds until which they may come.
local HAS_COME = 1
local function keepResult(name, text, lasts)
  redis.call('ZREMRANGEBYSCORE', name, '-inf', HAS_COME)
  local added = try('ZADD', name, 0, 'r' .. text)
  if type(added) == 'table' then return failure(added) end
  -- Each may come as long as it was told, though the one that did the work last was to wait for less.
  local latest = redis.call('ZREVRANGE', name, 0, 0, 'WITHSCORES')[2]
  redis.call('PEXPIRE', name, math.max(lasts, math.ceil((latest - now) / 1000)))
end
`;

/**
 * All releases, renewals and acquisitions of a batch, one atomic step each. Most batches of a worker are one step, which is done
 * first, in a third of the time. It is one script for all, so that a server that has acquired a key also has the script to release it:
 * a script that must be sent first would let BullMQ's completion overtake the release.
 */
export const EXCHANGE_LUA: string = `
-- KEYS      one a step; then of each 'keep' the place of its result; more are padding
-- ARGV      of a lone acquisition: 'acquire'; the part of its record from the token to the owner; the ms for which the lease
--           lasts; 1 if a lease that it finds held is to be marked, so that its release is notified
-- returns   the fence, negative if the owner reclaimed it; or { 'held', value, ms left }, or { 'error', message }
-- ARGV      of a lone release that keeps nothing: 'release'; the token, as it stands in the record
-- returns   1, or 0: it is not held under this token
-- ARGV[1]   of other batches: how many groups of steps there are
-- then      of each group: 'release', 'keep' (a release that keeps a result), 'reserve', 'renew', 'acquire' or 'acquire-notify' (which
--           marks a lease that it finds held, so that its release is notified); how many steps; the ms that they share
--           (for which a released key stays held as done, 0: it is free at once; for which a key stays reserved; for which a
--           lease lasts)
-- then      of each step a part of its record: the token, by which a lease is recognised; of an acquisition the token to
--           the owner; of a reservation for how many ms it lasts after it is due, of a result its bytes; then a comma, '"token":',
--           the token
-- then      of each 'keep' the text of its result
-- returns   the fence of all that was plainly acquired, a mark for each step, then an answer for each mark that is '+'.
--           (Clients are slow to read many numbers, and a hot key has many duplicates.)
--           '1' done, acquired; '0' not held under this token; '=' the answer of the last '+' once more; '+' an acquisition's
--           fence, where it is another; the negative fence if its owner reclaimed it;
--           { 'held', value, ms left } if it was refused; of any step { 'error', message } if Redis could not do it.
local verb = ARGV[1]

-- Whether a value, if there is one, is the lease of a token.
local function holds(value, token)
  return value and string.find(value, token, ${TOKEN_AT}, true) == ${TOKEN_AT} and string.sub(value, 1, ${LOCK.length}) == '${LOCK}'
end

if verb == 'release' then
  local value = redis.pcall('GET', KEYS[1])
  if not value then return 0 end
  if type(value) == 'table' and string.sub(value.err, 1, 9) ~= 'WRONGTYPE' then return value end
  if type(value) == 'string' then
    if not holds(value, ARGV[2]) then return 0 end
    redis.call('DEL', KEYS[1])
    if string.sub(value, ${STATE_AT}, ${STATE_AT + 6}) == 'awaited' then redis.pcall('PUBLISH', KEYS[1], '') end
    return 1
  end
end

-- The time in microseconds is the fence of what is acquired now. Read once, and only where something is acquired.
local now, ends

if verb == 'acquire' then
  local time = redis.call('TIME')
  local fence = string.format('%s%06d', time[1], time[2])
  local record = '${RUNNING}' .. ARGV[2] .. ',"fence":' .. fence .. ',"since":' .. string.sub(fence, 1, 13) .. '}'
  if redis.call('SET', KEYS[1], record, 'NX', 'PX', ARGV[3]) then return tonumber(fence) end
  now = tonumber(fence)
end

-- Whether a step that was refused leaves the holder as it is: it is another owner's, and needs no mark.
local function isPlainlyHeld(value, part, isNotified)
  if type(value) ~= 'string' or string.sub(value, 1, ${LOCK.length}) ~= '${LOCK}' then return false end
  local owner = string.sub(part, (string.find(part, ',"owner":', 1, true)))
  if string.find(value, owner .. ',"fence":', 1, true) then return false end
  return not (isNotified and string.sub(value, ${STATE_AT}, ${STATE_AT + 6}) == 'running')
end

if verb == 'acquire' then
  local value = redis.pcall('GET', KEYS[1])
  if isPlainlyHeld(value, ARGV[2], ARGV[4] == '1') then return { 'held', value, redis.call('PTTL', KEYS[1]) } end
end

local groups = tonumber(verb)
local parts = groups and groups * 3 + 1
local marks, reply = {}, { 0, '' }
-- What was released here. Time stands still in a script: a key that is acquired again needs a fence above the one it had.
local released = {}
-- Who holds the keys that were found held. They stay held as long as the script runs.
local held = {}
-- How many steps were done.
local taken = 0

${ENDING_LUA}
local function readClock()
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
  ends = ending(now)
  reply[1] = now
end

local function fenceAfter(record)
  return math.max(now, string.match(record, '"fence":(%d+),"since":%d+}$') + 1)
end

if groups and #ARGV - parts <= ${FEW_STEPS} then
${FEW_STEPS_LUA}
end

-- What follows is not even defined where steps are few and plain.
${RECORDS_LUA}
${HELD_LUA}
-- A lease of a key that has several places by now: what others hold beside it is not touched.
local function endPlace(key, token, record, ms)
  for _, place in ipairs(readPlaces(key) or {}) do
    if place.field == token and find(place.record, token, TOKEN_AT, true) == TOKEN_AT then
      if record then return 1, replacePlace(key, place, token, record .. sub(place.record, TOKEN_AT + #token), ms) end
      local problem = removePlace(key, place)
      notifyReleased(key, place.record)
      return 1, problem
    end
  end
  return 0
end

if verb == 'release' then return (endPlace(KEYS[1], ARGV[2])) end

if verb == 'acquire' then
  local holder = readHolder(KEYS[1], ARGV[2])
  if not holder then
    -- All who held its places have expired.
    redis.call('SET', KEYS[1], '${RUNNING}' .. ARGV[2] .. ending(now), 'PX', ARGV[3])
    return now
  end
  local answer = acquireHeld(KEYS[1], ARGV[2], ARGV[3], holder)
  if ARGV[4] == '1' and answer == holder then markHolderAwaited(KEYS[1], holder) end
  return answer
end

local A = string.byte(AWAITED)

local function answer(i, more)
  marks[i] = '+'
  reply[#reply + 1] = more
end

local function mark(i, problem)
  if problem then answer(i, problem) else marks[i] = '1' end
end

-- What is stored under the keys of some steps; a value of another type counts as none. Second, why it can't be read.
local function readAll(first, last)
  local values = try('MGET', unpack(KEYS, first, last))
  return values, failure(values)
end

local function endPlaceOf(i, token, record, ms)
  local ended, problem = endPlace(KEYS[i], token, record, ms)
  if ended == 1 then mark(i, problem) else marks[i] = '0' end
end

local function release(first, last, dedupeFor)
  local values, problem = readAll(first, last)
  local free, awaited = {}, {}
  for i = first, last do
    local key, value = KEYS[i], values[i - first + 1]
    if problem then
      answer(i, problem)
    elseif released[key] then
      marks[i] = '0'
    elseif not value then
      local token = ARGV[parts + i]
      endPlaceOf(i, token, dedupeFor ~= '0' and DONE .. token, dedupeFor)
    elseif not holds(value, ARGV[parts + i]) then
      marks[i] = '0'
    else
      released[key] = value
      marks[i] = '1'
      if dedupeFor == '0' then
        free[#free + 1] = key
        if string.byte(value, STATE_AT) == A then awaited[#awaited + 1] = key end
      else
        mark(i, failure(try('SET', key, DONE .. sub(value, TOKEN_AT), 'PX', dedupeFor)))
      end
    end
  end
  problem = #free > 0 and failure(try('DEL', unpack(free)))
  if problem then
    for i = first, last do
      if marks[i] == '1' then answer(i, problem) end
    end
    return
  end
  -- The channel of a key has the key's name.
  for i = 1, #awaited do try('PUBLISH', awaited[i], '') end
end

-- Leaves keys held in another way. Their records begin with 'head'.
local function keepHeld(first, last, lasts, head)
  local values, problem = readAll(first, last)
  -- All were read before: what an earlier step has left is no longer held.
  local left = {}
  for i = first, last do
    local value = values[i - first + 1]
    local token = match(ARGV[parts + i], '^%d+,"token":(.*)$')
    if problem then
      answer(i, problem)
    elseif not value then
      endPlaceOf(i, token, head .. ARGV[parts + i], lasts)
    elseif left[KEYS[i]] or not holds(value, token) then
      marks[i] = '0'
    else
      local stored = head .. ARGV[parts + i] .. sub(value, TOKEN_AT + #token)
      local failed = failure(try('SET', KEYS[i], stored, 'PX', lasts))
      left[KEYS[i]] = not failed
      mark(i, failed)
    end
  end
end

local function reserve(first, last, lasts)
  keepHeld(first, last, lasts, RESERVED)
end

${KEEP_LUA}
local results = 0
local function keep(first, last, lasts)
  if not now then readClock() end
  keepHeld(first, last, lasts, WITH_RESULT)
  local steps = 0
  for group = 2, groups * 3, 3 do steps = steps + ARGV[group + 1] end
  for i = first, last do
    results = results + 1
    if marks[i] == '1' then mark(i, keepResult(KEYS[steps + results], ARGV[parts + steps + results], lasts)) end
  end
end

-- Renews a lease of a key with several places.
local function renewPlace(i, key, token, ttl)
  local value = try('HGET', key, token)
  local ends, record = match(type(value) == 'string' and value or '', '^(%d+) (.*)$')
  if not now then readClock() end
  if not ends or ends * 1000 <= now or sub(record, 1, #LOCK) ~= LOCK or sub(record, TOKEN_AT, TOKEN_AT + #token - 1) ~= token then
    marks[i] = '0'
  else
    mark(i, setPlace(key, token, record, ttl))
  end
end

local function renew(first, last, ttl)
  local values, problem = readAll(first, last)
  for i = first, last do
    local value = values[i - first + 1]
    if problem then
      answer(i, problem)
    elseif holds(value, ARGV[parts + i]) then
      mark(i, failure(try('PEXPIRE', KEYS[i], ttl)))
    else
      renewPlace(i, KEYS[i], ARGV[parts + i], ttl)
    end
  end
end

local function acquireAll(first, last, ttl, isNotified)
  if not now then readClock() end
  for i = first, last do
    local key, part = KEYS[i], ARGV[parts + i]
    local fence, rest = now, ends
    if released[key] then
      fence = fenceAfter(released[key])
      rest = ending(fence)
    end
    local set = not held[key] and try('SET', key, RUNNING .. part .. rest, 'NX', 'PX', ttl)
    local holder = not set and (held[key] or readHolder(key, part))
    -- All who held its places may have expired.
    if not set and not holder then set = try('SET', key, RUNNING .. part .. rest, 'PX', ttl) end
    if not set then
      local more = acquireHeld(key, part, ttl, holder)
      held[key] = more == holder and holder[1] == 'held' and not holder.place.field and holder or nil
      if isNotified and more == holder then markHolderAwaited(key, holder) end
      if more == reply[#reply] then marks[i] = '=' else answer(i, more) end
    elseif set.err or fence ~= now then
      answer(i, failure(set) or fence)
    else
      marks[i] = '1'
    end
  end
end

local function acquire(first, last, ttl) acquireAll(first, last, ttl, false) end
local function acquireAndNotify(first, last, ttl) acquireAll(first, last, ttl, true) end

local verbs = {
  release = release, keep = keep, reserve = reserve, renew = renew, acquire = acquire, ['acquire-notify'] = acquireAndNotify,
}
local first = 1
for group = 2, groups * 3, 3 do
  local last = first + ARGV[group + 1] - 1
  first = math.max(first, taken + 1)
  if first <= last then verbs[ARGV[group]](first, last, ARGV[group + 2]) end
  first = last + 1
end

reply[2] = table.concat(marks)
return reply
`;

/** Reports what is stored under some keys, and for how long. */
export const INSPECT_LUA: string = `
-- KEYS     the keys; more than ARGV[1] are padding
-- ARGV[1]  how many
-- returns  for each: { value, ms left (-1: for ever) }, of several holders all of them one after another; or 0 where nothing is stored
${RECORDS_LUA}
${HELD_LUA}
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local places, problem = readPlaces(KEYS[i])
  if problem then return redis.error_reply(problem[2]) end
  local found = {}
  for _, place in ipairs(places) do
    found[#found + 1] = place.record
    found[#found + 1] = place.left
  end
  answers[i] = #found > 0 and found or 0
end
return answers
`;

/** Lists some of the names that a server has. */
export const SCAN_LUA: string = `
-- KEYS     one, which says whose names are meant where there are several servers
-- ARGV     the cursor, the pattern, how many to look at
-- returns  the next cursor, '0' when all were seen; some names
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
`;

/** Frees some keys, whoever holds them. */
export const FORCE_RELEASE_LUA: string = `
-- KEYS     the keys; more than ARGV[1] are padding
-- ARGV[1]  how many
-- then     of each the fence of the acquisition to end, '' for any
-- returns  1 or 0 for each: whether it was there
${RECORDS_LUA}
${HELD_LUA}
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local key, fence = KEYS[i], ARGV[i + 1]
  answers[i] = 0
  for _, place in ipairs(readPlaces(key) or {}) do
    local isMeant = fence == '' or match(place.record, '"fence":(%d+),"since":%d+}$') == fence
    if isMeant and isLock(place.record) and not removePlace(key, place) then
      answers[i] = 1
      notifyReleased(key, place.record)
    end
  end
end
return answers
`;
