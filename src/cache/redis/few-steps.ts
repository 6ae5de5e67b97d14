/**
 * The steps of a small batch, as most batches of a worker are. To make the many functions that any step may need takes longer than such a
 * batch itself.
 */

import { DONE, RUNNING, STATE_AT, TOKEN_AT } from './record-text.ts';

/** So many steps are done one by one. Of more, all that are alike are read and deleted by one command. */
export const FEW_STEPS = 16;

/**
 * Does the steps of a batch one by one, up to the first that is not plain: of a key with several places, of a value that no lock wrote, of
 * an owner that finds its own lease. Part of the script of an exchange, whose variables it uses.
 */
export const FEW_STEPS_LUA: string = `
  local try, sub = redis.pcall, string.sub

  local function release(key, token, dedupeFor)
    local value = try('GET', key)
    if not value then return '0' end
    if type(value) ~= 'string' then return nil end
    if not holds(value, token) then return '0' end
    local ended = dedupeFor == '0' and try('DEL', key)
      or dedupeFor ~= '0' and try('SET', key, '${DONE}' .. sub(value, ${TOKEN_AT}), 'PX', dedupeFor)
    if type(ended) == 'table' and ended.err then return nil end
    released[key] = value
    if dedupeFor == '0' and sub(value, ${STATE_AT}, ${STATE_AT + 6}) == 'awaited' then try('PUBLISH', key, '') end
    return '1'
  end

  local function renew(key, token, ttl)
    local value = try('GET', key)
    local isHeld = type(value) == 'string' and holds(value, token)
    return isHeld and try('PEXPIRE', key, ttl) == 1 and '1' or nil
  end

  local function acquire(key, part, ttl, isNotified)
    if not now then readClock() end
    local holder = held[key]
    if not holder then
      local fence, rest = now, ends
      if released[key] then
        fence = fenceAfter(released[key])
        rest = ending(fence)
      end
      local set = try('SET', key, '${RUNNING}' .. part .. rest, 'NX', 'PX', ttl)
      if set and set.err then return nil end
      if set and fence == now then return '1' end
      if set then return '+', fence end
      local value, left = try('GET', key), try('PTTL', key)
      if type(left) ~= 'number' then return nil end
      holder = { 'held', value, left, place = { record = value } }
    end
    if not isPlainlyHeld(holder[2], part, isNotified) then return nil end
    held[key] = holder
    if reply[#reply] == holder then return '=' end
    return '+', holder
  end

  local step = 0
  for group = 2, groups * 3, 3 do
    local kind, ms = ARGV[group], ARGV[group + 2]
    local take = kind == 'release' and release or kind == 'renew' and renew
      or (kind == 'acquire' or kind == 'acquire-notify') and acquire
    for i = step + 1, step + ARGV[group + 1] do
      local mark, more
      if take and taken == i - 1 then mark, more = take(KEYS[i], ARGV[parts + i], ms, kind == 'acquire-notify') end
      if not mark then break end
      marks[i], taken = mark, i
      if more then reply[#reply + 1] = more end
    end
    step = step + ARGV[group + 1]
  end
  if taken == step then
    reply[2] = table.concat(marks)
    return reply
  end
`;
