/**
 * The script that decides on lines and places in Redis, by the rules of `line-rules.ts`. `line-protocol.ts` writes its arguments and
 * reads its replies.
 *
 * A key with one place is stored as `record-text.ts` says. A key with several places is a hash: of each holder its token, as it stands in
 * the record, with the time at which its lease ends in ms, a space and the record. A key's line is a sorted set: the owners that are
 * parked, by the time at which they joined in microseconds. In the line `'newest'` the last owner that acquired the key is in it
 * too, before all others, by the time in ms until which it is remembered. Those of the line `'together'` move to the place of the result
 * when the work was done.
 */

import { MAX_ANSWERED } from '../contract.ts';
import { LINE_LASTS_MS, REMEMBER_OUTDONE_MS, REMEMBER_TTLS } from '../line-rules.ts';
import { ENDING_LUA, HELD_LUA, KEEP_LUA, RECORDS_LUA } from './scripts.ts';

/** Redis takes so many members at once. */
const MAX_MEMBERS = 1000;

/**
 * What a worker sends most, in a third of the time: steps of the line 'all' on a key with one place. They acquire the key, join the line
 * behind its holder, or release it and keep nothing. They return nothing where the step is another one, or where Redis refuses it, and
 * then have changed nothing.
 */
const FAST_LUA = `
local function fastEnter(key, line, part, owner, first, joins, notify, interrupts, ttl)
  local stored = try('GET', key)
  if stored then
    -- It joins behind another owner that holds the key.
    local itsOwner = sub(part, (find(part, ',"owner":', 1, true)))
    local joinsBehind = joins == '1' and notify == '0' and interrupts == '0' and type(stored) == 'string'
      and sub(stored, 1, #RUNNING) == RUNNING and not find(stored, itsOwner, 1, true)
    if not joinsBehind or redis.call('ZSCORE', line, 'p' .. owner) then return end
    local last = first and redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2]
    local now = clock[1] * 1000000 + clock[2]
    local added = try('ZADD', line, string.format('%.0f', last and math.max(now, last + 1) or now), 'p' .. owner)
    if type(added) == 'table' then return end
    redis.call('PEXPIRE', line, ${LINE_LASTS_MS})
    return { 'held', stored, redis.call('PTTL', key), redis.call('ZCARD', line) - 1, '' }
  end
  if released[key] or first and first ~= 'p' .. owner or not first and joins ~= '1' then return end
  local fence = string.format('%s%06d', clock[1], clock[2])
  local record = RUNNING .. part .. ',"fence":' .. fence .. ',"since":' .. sub(fence, 1, 13) .. '}'
  if try('SET', key, record, 'PX', ttl).err then return end
  if not first then return { 'acquired', tonumber(fence), 0, '' } end
  redis.call('ZREM', line, first)
  local next = redis.call('ZRANGE', line, 0, 0)[1]
  return { 'acquired', tonumber(fence), 0, next and sub(next, 2) or '' }
end

local function fastLeave(key, line, token, first)
  local stored = try('GET', key)
  if type(stored) ~= 'string' or find(stored, token, TOKEN_AT, true) ~= TOKEN_AT or sub(stored, 1, #LOCK) ~= LOCK then return end
  redis.call('DEL', key)
  released[key] = stored
  if sub(stored, STATE_AT, STATE_AT + 6) == AWAITED then try('PUBLISH', key, '') end
  return { 1, first and sub(first, 2) or '' }
end

local function fast(key, line, verb, subject, owner)
  local isLeave = verb == 'leave 1 all 0 0'
  local joins, notify, interrupts, ttl = match(verb, '^enter 1 all (%d) (%d) (%d) (%d+) %d+$')
  if not isLeave and not ttl then return end
  local members = try('ZRANGE', line, 0, 0)
  -- It may be no line, or one of another kind.
  if members.err or members[1] and sub(members[1], 1, 1) ~= 'p' then return end
  if isLeave then return fastLeave(key, line, subject, members[1]) end
  return fastEnter(key, line, subject, owner, members[1], joins, notify, interrupts, ttl)
end
`;

/** All other steps. Its many functions are made only where one of them comes. */
const VERBS_LUA = `
local now = clock[1] * 1000000 + clock[2]
local nowMs = math.floor(now / 1000)
${ENDING_LUA}${HELD_LUA}

local PARKED, LAST = 'p', 'l'
-- A time in ms is below it, and one in microseconds is above.
local FIRST_SCORE = 1e14
-- What jobs are compared by: their queue, the number that it gave them or nil, when they were created.
local function ageOf(owner)
  local queue, id, created = match(owner, '^(.*[^:]):([^:]*)@(%-?%d+)$')
  if not created or math.abs(tonumber(created)) >= 9007199254740992 then return nil end
  local number = #id <= 15 and match(id, '^[1-9]%d*$')
  return queue, tonumber(number or nil), tonumber(created)
end

-- Whether a job that comes is older than another, which came at a time.
local function isOlder(owner, other, since, isRerun, byNumberOnly)
  if owner == other then return false end
  local queue, number, created = ageOf(owner)
  local otherQueue, otherNumber, otherCreated = ageOf(other)
  if not created or not otherCreated then return false end
  if queue == otherQueue and number and otherNumber then
    local isOfNewCount = created > math.max(otherCreated, since) and created <= nowMs
    return number < otherNumber and not isOfNewCount
  end
  if byNumberOnly then return false end
  if created > nowMs then created = isRerun and 0 or nowMs end
  otherCreated = math.min(otherCreated, since)
  return created < otherCreated or (isRerun and created == otherCreated)
end

-- The line of a key: how many members come before those that are parked (0 or 1), how many are parked.
local function readLine(line)
  local first = try('ZRANGE', line, 0, 0, 'WITHSCORES')
  if first.err then return nil, failure(first) end
  if #first == 0 then return 0, 0 end
  local marks = tonumber(first[2]) < FIRST_SCORE and 1 or 0
  return marks, redis.call('ZCARD', line) - marks
end

local function parkedAt(line, marks, position)
  local found = redis.call('ZRANGE', line, marks + position, marks + position)[1]
  return found and sub(found, 2)
end

local function positionOf(line, marks, owner)
  local rank = redis.call('ZRANK', line, PARKED .. owner)
  return rank and rank - marks
end

-- The last owner that acquired the key, since when, until when it is remembered, its member.
local function readLast(line, marks)
  if marks == 0 then return nil end
  local found = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
  local since, owner = match(found[1], '^l(%d+) (.*)$')
  if tonumber(found[2]) <= nowMs then return nil, nil, 0, found[1] end
  return owner, tonumber(since), tonumber(found[2]), found[1]
end

local function remember(line, member, until_)
  redis.call('ZADD', line, until_, member)
  if redis.call('PTTL', line) < until_ - nowMs then redis.call('PEXPIRE', line, until_ - nowMs) end
end

local function recordOwner(record)
  local ok, decoded = pcall(cjson.decode, record)
  return ok and type(decoded) == 'table' and type(decoded.owner) == 'string' and decoded or nil
end

local function isDone(record)
  return sub(record, STATE_AT, STATE_AT + 3) == 'done'
end
${KEEP_LUA}
-- The place of the result of the step under way.
local results = 0
local function resultName()
  results = results + 1
  return KEYS[2 * ARGV[1] + results]
end

local function resultText(name)
  local first = redis.call('ZRANGE', name, 0, 0)[1]
  return first and sub(first, 1, 1) == 'r' and sub(first, 2) or nil
end

-- Some of those that share a result and have not come for it yet.
local function awaited(name, from, count)
  local owners = redis.call('ZRANGEBYSCORE', name, string.format('(%.0f', now), '+inf', 'LIMIT', from, count)
  for i, member in ipairs(owners) do owners[i] = sub(member, 2) end
  return owners
end

local function answeredIn(name)
  local owners = awaited(name, 0, ${MAX_ANSWERED})
  return #owners > 0 and owners or nil
end

-- Keeps the result of work that was done, for those who are parked too: they leave the line.
local function answerAll(name, line, marks, parked, text, dedupeFor, atLeast)
  local shares = parked > 0 or #awaited(name, 0, 1) > 0
  if not shares and dedupeFor == '0' then return end
  local lasts = shares and math.max(dedupeFor, atLeast) or dedupeFor
  redis.call('ZREMRANGEBYSCORE', name, '(' .. HAS_COME, string.format('%.0f', now))
  for first = 0, parked - 1, ${MAX_MEMBERS} do
    local members = redis.call('ZRANGE', line, marks + first, marks + first + ${MAX_MEMBERS - 1})
    local scored = {}
    for i, member in ipairs(members) do
      scored[2 * i - 1], scored[2 * i] = string.format('%.0f', now + lasts * 1000 + first + i), member
    end
    redis.call('ZADD', name, unpack(scored))
  end
  if parked > 0 then redis.call('ZREMRANGEBYRANK', line, marks, -1) end
  return keepResult(name, text, lasts)
end

-- Whether an owner shares the result that is kept, and notes that it has come. The answer may get lost, and its process may die with it: so
-- it may come again.
local function comesFor(name, text, owner, wanted)
  local ends = tonumber(redis.call('ZSCORE', name, PARKED .. owner) or 0)
  if ends ~= HAS_COME and ends <= now then return false end
  local theirs = wanted and match(text, '^{"match":"([^"]*)"')
  if theirs and theirs ~= wanted then
    -- A newcomer has done the work for other data meanwhile: that is not the result that it has waited for.
    redis.call('ZREM', name, PARKED .. owner)
    return false
  end
  if ends ~= HAS_COME then try('ZADD', name, HAS_COME, PARKED .. owner) end
  return true
end

-- Whether a lock is held for other data than those of a step.
local function isMismatch(record, wanted)
  local theirs = wanted and match(record, '"attempt":%d+,"match":"([^"]*)","owner":')
  return theirs and theirs ~= wanted
end

-- The newer owner by which one is outdone, as it is reported.
local function newerThan(owner, isRerun, held, line, marks, parked, lastOwner, lastSince)
  for _, place in ipairs(held) do
    local holder = recordOwner(place.record)
    if holder and isOlder(owner, holder.owner, holder.since, isRerun) then
      return { 'held', place.record, place.left, -1, '' }
    end
  end
  if parked > 0 then
    local head = parkedAt(line, marks, 0)
    local since = math.floor(redis.call('ZSCORE', line, PARKED .. head) / 1000)
    -- Where an age is not known, the one that comes again came first.
    local isUnknown = isRerun and not (ageOf(owner) and ageOf(head))
    if isUnknown or isOlder(owner, head, since, isRerun) then return { 'parked', head, since, -1, '' } end
  end
  if lastOwner and isOlder(owner, lastOwner, lastSince, isRerun, not isRerun) then
    return { 'done', lastOwner, lastSince, -1, '' }
  end
end

local function newFence(key, held)
  local fence = now
  if released[key] then fence = math.max(fence, fenceOf({ record = released[key] }) + 1) end
  for _, place in ipairs(held) do
    fence = math.max(fence, fenceOf(place) + 1)
  end
  return fence
end

-- Stores the record of an owner that is granted a place, and lets it leave the line.
local function grant(key, line, part, owner, ttl, places, kind, held, own, marks, parked, reclaimed)
  local fence = newFence(key, held)
  local record = RUNNING .. part .. ending(fence)
  local token = tokenOf(part)
  local problem
  if own then
    problem = replacePlace(key, own, token, record, ttl)
  elseif tonumber(places) == 1 then
    -- What is left of a hash here has expired.
    problem = failure(try('SET', key, record, 'PX', ttl))
  else
    problem = addPlace(key, held, token, record, ttl)
  end
  if problem then return problem end
  local next = ''
  if parked > 0 then
    redis.call('ZREM', line, PARKED .. owner)
    next = parkedAt(line, marks, 0) or ''
  end
  if kind == 'newest' and not own then
    local lasts = next == '' and ${REMEMBER_TTLS} * ttl or ${REMEMBER_OUTDONE_MS}
    if next ~= '' then redis.call('ZREM', line, PARKED .. next) end
    local _, _, until_, member = readLast(line, marks)
    if member then redis.call('ZREM', line, member) end
    remember(line, LAST .. nowMs .. ' ' .. owner, math.max(until_ or 0, nowMs + lasts))
  end
  return { 'acquired', fence, reclaimed and 1 or 0, next }
end

local function join(key, line, owner, kind, marks, parked, interrupts)
  local outdone = ''
  if kind == 'newest' and parked > 0 then
    outdone = parkedAt(line, marks, 0)
    redis.call('ZREM', line, PARKED .. outdone)
    local _, _, until_, member = readLast(line, marks)
    if member and until_ > 0 then remember(line, member, math.max(until_, nowMs + ${REMEMBER_OUTDONE_MS})) end
    parked = 0
  end
  local score = now
  if parked > 0 then score = math.max(now, redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')[2] + 1) end
  local added = try('ZADD', line, string.format('%.0f', score), PARKED .. owner)
  if type(added) == 'table' then return failure(added) end
  redis.call('PEXPIRE', line, ${LINE_LASTS_MS})
  if interrupts == '1' then try('PUBLISH', key, '') end
  return nil, parked, outdone
end

verbs = {}

function verbs.enter(key, line, verb, part, owner)
  local places, kind, joins, notify, interrupts, ttl, attempt, after, wanted =
    match(verb, '^enter (%d+) (%S+) (%d) (%d) (%d) (%d+) (%d+) (%d+) ?(%S*)$')
  if wanted == '' then wanted = nil end
  local isTogether = kind == 'together'
  local name = isTogether and resultName()
  local held, problem = readPlaces(key)
  if problem then return problem end
  local marks, parked = 0, 0
  if kind ~= '-' then
    marks, parked = readLine(line)
    if not marks then return parked end
  end
  local isRerun = tonumber(attempt) > 1
  local itself, final, isForeign
  for _, place in ipairs(held) do
    if find(place.record, part, TOKEN_AT, true) == TOKEN_AT and isLock(place.record) then
      -- The same step, sent again because its answer got lost.
      local failed = replacePlace(key, place, place.field, place.record, ttl)
      local next = parked > 0 and parkedAt(line, marks, 0) or ''
      return failed or { 'acquired', fenceOf(place), 0, next }
    end
    if reclaimable(place.record, part) then
      local isReserved = sub(place.record, 1, #RESERVED) == RESERVED
      return grant(key, line, part, owner, ttl, places, kind, held, place, marks, parked, not isReserved)
    end
    local holder = recordOwner(place.record)
    if holder and holder.owner == owner then itself = place end
    -- It is no duplicate, or the work is done. There is nothing to wait for.
    if not final and (isMismatch(place.record, wanted) or isTogether and isDone(place.record)) then final = place end
    if place.record == '' then isForeign = true end
  end
  local text = isTogether and resultText(name)
  if text and comesFor(name, text, owner, wanted) then
    return { 'answered', text, awaited(name, ${MAX_ANSWERED - 1}, 1)[1] or awaited(name, 0, 1)[1] or '' }
  end
  if itself or final then
    local place = itself or final
    -- What is reserved may be so for a job that won't come back.
    if not itself and sub(place.record, 1, #RESERVED) ~= RESERVED then redis.call('ZREM', line, PARKED .. owner) end
    return { 'held', place.record, place.left, -2, '', text and isDone(place.record) and text or nil }
  end
  local position = parked > 0 and positionOf(line, marks, owner)
  if kind ~= '-' and joins ~= '1' and not position then return { 'absent' } end
  if kind == 'newest' and not position then
    local lastOwner, lastSince = readLast(line, marks)
    local newer = newerThan(owner, isRerun, held, line, marks, parked, lastOwner, lastSince)
    if newer then return newer end
  end
  local free = isForeign and 0 or places - #held
  local isTurn = free > 0
  if kind == 'all' then isTurn = (position or parked) < free end
  if isTurn then return grant(key, line, part, owner, ttl, places, kind, held, nil, marks, parked, false) end
  if notify == '1' then
    for _, place in ipairs(held) do markPlaceAwaited(key, place) end
  end
  local ahead, outdone, head = -2, '', nil
  if free > 0 then head = parkedAt(line, marks, 0) end
  local since = head and math.floor(redis.call('ZSCORE', line, PARKED .. head) / 1000)
  if position then
    ahead = position
  elseif kind ~= '-' then
    problem, ahead, outdone = join(key, line, owner, kind, marks, parked, interrupts)
    if problem then return problem end
  end
  if head then return { 'parked', head, since, ahead, outdone } end
  -- Who finds a reservation asks BullMQ about its job, and then about the job of the next.
  local shown = held[1]
  for i = #held, 1, -1 do
    local isReserved = sub(held[i].record, 1, #RESERVED) == RESERVED
    if isReserved and fenceOf(held[i]) > tonumber(after) then shown = held[i] end
  end
  return { 'held', shown.record, shown.left, ahead, outdone }
end

-- Whose turn it is: the last of those for whom there is a free place. Those before it were told before.
local function nextOf(line, marks, parked, free)
  return free > 0 and parked > 0 and parkedAt(line, marks, math.min(free, parked) - 1) or ''
end

local function leave(key, line, token, places, kind, dedupeFor, rememberFor, grace, lasts, bytes, text)
  local name = (kind == 'together' or text) and resultName()
  local held, problem = readPlaces(key)
  if problem then return problem end
  local own
  for _, place in ipairs(held) do
    if find(place.record, token, TOKEN_AT, true) == TOKEN_AT and sub(place.record, 1, #LOCK) == LOCK then own = place end
  end
  local marks, parked = 0, 0
  if kind ~= '-' then
    marks, parked = readLine(line)
    if not marks then return parked end
  end
  -- Where the key stays done, the first is told, so that it comes back when the window is over.
  local least = dedupeFor ~= '0' and grace == '' and 1 or 0
  if not own then
    local next = nextOf(line, marks, parked, math.max(places - #held, least))
    return { 0, next, kind == 'together' and answeredIn(name) or nil }
  end
  if not released[key] or fenceOf({ record = released[key] }) < fenceOf(own) then released[key] = own.record end
  local free = places - #held
  if grace ~= '' then
    local record = RESERVED .. grace .. ',"token":' .. token .. sub(own.record, TOKEN_AT + #token)
    problem = replacePlace(key, own, token, record, lasts)
  elseif dedupeFor ~= '0' then
    local done = text and bytes ~= '0' and WITH_RESULT .. bytes .. ',"token":' or DONE
    problem = replacePlace(key, own, token, done .. sub(own.record, TOKEN_AT), dedupeFor)
  else
    free = free + 1
    problem = removePlace(key, own)
    notifyReleased(key, own.record)
  end
  if problem then return problem end
  local answered
  if text then
    local leaving = kind == 'together' and parked or 0
    problem = answerAll(name, line, marks, leaving, text, dedupeFor, rememberFor)
    if problem then return problem end
    parked = parked - leaving
  end
  if kind == 'together' then answered = answeredIn(name) end
  -- Those who wait for it in their processes.
  if answered and dedupeFor ~= '0' then notifyReleased(key, own.record) end
  local next = nextOf(line, marks, parked, math.max(free, least))
  if kind == 'newest' then
    local _, _, until_, member = readLast(line, marks)
    if not member or until_ == 0 then
      if member then redis.call('ZREM', line, member) end
      local holder = recordOwner(own.record)
      member = LAST .. nowMs .. ' ' .. (holder and holder.owner or '')
    end
    remember(line, member, math.max(until_ or 0, nowMs + rememberFor))
  end
  return { 1, next, answered }
end

function verbs.leave(key, line, verb, token)
  local places, kind, dedupeFor, rememberFor, grace, lasts = match(verb, '^leave (%d+) (%S+) (%d+) (%d+) ?(%d*) ?(%d*)$')
  return leave(key, line, token, places, kind, dedupeFor, rememberFor, grace, lasts)
end

function verbs.keep(key, line, verb, token, text)
  local places, kind, dedupeFor, rememberFor, bytes = match(verb, '^keep (%d+) (%S+) (%d+) (%d+) (%d+)$')
  return leave(key, line, token, places, kind, dedupeFor, rememberFor, '', '', bytes, text)
end

function verbs.line(key, line, _, owner)
  local held, problem = readPlaces(key)
  if problem then return problem end
  local marks, parked = readLine(line)
  if not marks then return parked end
  local holds = 0
  for _, place in ipairs(held) do
    local holder = recordOwner(place.record)
    if holder and holder.owner == owner then holds = 1 end
  end
  return { #held, parked, parkedAt(line, marks, 0) or '', positionOf(line, marks, owner) or -1, holds }
end

function verbs.strike(key, line, _, owner)
  local removed = try('ZREM', line, PARKED .. owner)
  return type(removed) == 'table' and failure(removed) or removed
end
`;

export const LINE_LUA: string = `
-- KEYS      of each step the key, and its line; then of each step on a line 'together', or with a result, the place of its result; more
--           are padding
-- ARGV[1]   how many steps
-- then      of each step its verb with what goes with it, separated by spaces, and:
--           'enter'   how many places; 'all', 'newest', 'together' or '-'; 1 if it joins; 1 if its release is to be notified; 1 if those
--                     who listen are to be notified when it joins; the ms for which the lease lasts; the attempt; the hash of what must
--                     be equal, if there is one
--                     — the part of its record from the token to the owner — the owner
--           'leave'   how many places; 'all', 'newest', 'together' or '-'; the ms for which it stays held as done; the ms for which the
--                     owner may come again; of a reservation its grace, and the ms that it lasts
--                     — the token
--           'keep'    the same without a reservation, and the bytes of the result
--                     — the token — the text of the result
--           'line'    — the owner
--           'strike'  — the owner
-- returns   for each step: { 'error', message }, or
--           'enter'   { 'acquired', fence, 1 if its owner reclaimed it, the next owner or '' };
--                     { 'absent' }: it does not join, and is not in the line;
--                     { 'answered', the text of the result, another that shares it or '' };
--                     { 'held', value, ms left, how many are ahead, the outdone owner or '' }: -1 ahead: it is outdone; -2: it is in
--                     no line. Then, of work that was done, the text of its result if it is kept;
--                     { 'parked' or 'done', an owner, since when in ms, how many are ahead, the outdone owner or '' }: the key is free
--           'leave', 'keep' { 1 or 0, the next owner or '', and of the line 'together' those that share the result }
--           'line'    { how many hold the key, how many are parked, the head or '', how many are ahead or -1, 1 if it holds it }
--           'strike'  1 or 0
${RECORDS_LUA}
local clock = redis.call('TIME')
-- The records that were released here. Time stands still in a script: a key that is acquired again needs a higher fence.
local released = {}
${FAST_LUA}
local verbs
local function any(key, line, verb, subject, other)
  if not verbs then
    ${VERBS_LUA}
  end
  return verbs[match(verb, '^%l+')](key, line, verb, subject, other)
end

local sizes = { enter = 3, leave = 2, keep = 3, line = 2, strike = 2 }
local replies = {}
local at = 2
for i = 1, tonumber(ARGV[1]) do
  local size = sizes[match(ARGV[at], '^%l+')]
  local key, line, verb, subject, other = KEYS[2 * i - 1], KEYS[2 * i], ARGV[at], ARGV[at + 1], size == 3 and ARGV[at + 2]
  replies[i] = fast(key, line, verb, subject, other) or any(key, line, verb, subject, other)
  at = at + size
end
return replies
`;

/** Forgets who has acquired some keys last, and the results of work that was done. */
export const FORGET_LUA: string = `
-- KEYS     lines, and places of results; more than ARGV[1] are padding
-- ARGV[1]  how many
-- returns  for each: how many it has forgotten
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local first = redis.call('ZRANGE', KEYS[i], 0, 0)[1]
  if first and string.sub(first, 1, 1) == 'r' then answers[i] = redis.call('DEL', KEYS[i])
  else answers[i] = redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(1e14') end
end
return answers
`;

/** Reads the results that are kept. */
export const RESULTS_LUA: string = `
-- KEYS     the places of results; more than ARGV[1] are padding
-- ARGV[1]  how many
-- returns  for each: an 'r' and the text of the result, or '' where there is none
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local first = redis.call('ZRANGE', KEYS[i], 0, 0)[1] or ''
  answers[i] = string.sub(first, 1, 1) == 'r' and first or ''
end
return answers
`;
