-- Asks for PREFIX1 to PREFIXn in turn, and then from the beginning. Arguments: prefix, first number, how many.

local prefix, first, count, number = nil, 0, 0, 0

function init(args)
    prefix, first, count = args[1], tonumber(args[2]), tonumber(args[3])
end

function request()
    number = number % count + 1
    return wrk.format(nil, prefix .. first + number - 1)
end
