package cel

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

const (
	bytesPerCost = 10 // how much of what a call reads and makes costs one
	bytesPerItem = 32 // what an item of a list or map counts as, beside its own bytes
)

// estimator lets calls cost the work that they do: the library counts many of them as one, whatever they read and make.
type estimator struct{}

func (estimator) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	steps := uint64(MaxCall)
	if refused, ok := result.(*types.Err); !ok || !errors.As(refused.Unwrap(), new(refusal)) {
		steps = min(work(function, args), MaxCall)
	}
	if _, growing := result.(traits.MutableLister); !growing { // a list that a comprehension makes, which + adds one item to
		steps += size(result)
	}
	cost := 1 + steps/bytesPerCost
	return &cost
}

// boundCalls refuses calls before they do more work than [MaxCall]: nothing ends a call that has begun.
func boundCalls(env *cel.Env) cel.ProgramOption {
	declared := env.Functions()
	return cel.CustomDecoratorV2(func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		call, ok := i.(interpreter.InterpretableCall)
		if !ok || !heavy(call.Function()) {
			return i, nil
		}
		invoke, err := implementation(declared, call)
		if err != nil {
			return nil, err
		}
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
			if work(call.Function(), args) > MaxCall {
				return types.WrapErr(refusal(strings.Trim(call.Function(), "_@")))
			}
			return flat(env, invoke(args...))
		}), nil
	})
}

// refusal is the error of a function whose call would do too much.
type refusal string

func (function refusal) Error() string {
	return fmt.Sprintf("one call of %s takes more than %d steps", string(function), MaxCall)
}

// flat returns the sum of two lists as one list: the library keeps both, so that a sum of sums is slow to read.
func flat(env *cel.Env, value ref.Val) ref.Val {
	list, ok := value.(traits.Lister)
	if _, growing := value.(traits.MutableLister); !ok || growing {
		return value
	}
	items := make([]ref.Val, 0, size(value))
	for i := list.Iterator(); i.HasNext() == types.True; {
		items = append(items, i.Next())
	}
	return types.NewRefValList(env.CELTypeAdapter(), items)
}

// heavy reports whether the work of a function grows faster than what it is given, or with all that is below its arguments.
func heavy(function string) bool {
	switch function {
	case operators.Add, operators.Equals, operators.NotEquals, operators.In, operators.OldIn, "matches", "replace", "join", "format", "indexOf", "lastIndexOf":
		return true
	}
	return strings.HasPrefix(function, "sets.")
}

// implementation is what a call calls.
func implementation(declared map[string]*decls.FunctionDecl, call interpreter.InterpretableCall) (functions.FunctionOp, error) {
	switch call.Function() {
	case operators.Equals:
		return func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) }, nil
	case operators.NotEquals:
		return func(args ...ref.Val) ref.Val { return types.Bool(types.Equal(args[0], args[1]) != types.True) }, nil
	}
	overloads, err := declared[call.Function()].Bindings()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{call.OverloadID(), call.Function()} {
		for _, o := range overloads {
			switch {
			case o.Operator != name:
			case o.Function != nil:
				return guarded(o, o.Function), nil
			case o.Binary != nil:
				return guarded(o, func(args ...ref.Val) ref.Val { return o.Binary(args[0], args[1]) }), nil
			case o.Unary != nil:
				return guarded(o, func(args ...ref.Val) ref.Val { return o.Unary(args[0]) }), nil
			}
		}
	}
	return nil, fmt.Errorf("function %s has no implementation", call.Function())
}

// guarded refuses what the library refuses before a call: a first argument without the trait that the implementation relies on.
// The implementation would panic, which no || and no exists gets over.
func guarded(o *functions.Overload, invoke functions.FunctionOp) functions.FunctionOp {
	return func(args ...ref.Val) ref.Val {
		if o.OperandTrait != 0 && !args[0].Type().HasTrait(o.OperandTrait) {
			return types.NewErr("no such overload: %s", o.Operator)
		}
		return invoke(args...)
	}
}

// work is how many bytes and values a call reads and makes; more than [MaxCall] means at least that.
func work(function string, args []ref.Val) uint64 {
	sizes := make([]uint64, len(args))
	total := uint64(0)
	for i, arg := range args {
		sizes[i] = size(arg)
		total += sizes[i]
	}
	deep := func(i int) uint64 { return depth(args[i], MaxCall) }
	switch {
	case len(args) < 1:
	case function == operators.Equals, function == operators.NotEquals:
		n := deep(0)
		return n + depth(args[1], MaxCall-min(n, MaxCall))
	case function == operators.In, function == operators.OldIn:
		if _, ok := args[1].(traits.Lister); ok {
			return deep(1)
		}
	case function == operators.Add:
		if _, growing := args[0].(traits.MutableLister); growing {
			return sizes[1]
		}
		if _, ok := args[0].(traits.Lister); ok {
			return product(total, bytesPerItem)
		}
	case strings.HasPrefix(function, "sets."):
		return product(sizes[0]+1, deep(1)) + product(sizes[1]+1, deep(0))
	case function == "matches":
		return product(sizes[0]+1, instructions(args[1]))
	case function == "indexOf", function == "lastIndexOf":
		return product(sizes[0]+1, sizes[1]+1)
	case function == "replace":
		return total + product(sizes[0]/max(sizes[1], 1)+1, sizes[2])
	case function == "join":
		text := deep(0)
		if len(args) > 1 {
			text += product(sizes[0], sizes[1])
		}
		return text
	case function == "format":
		return sizes[0] + deep(1)
	}
	return total
}

// product multiplies without an overflow.
func product(a, b uint64) uint64 {
	if a > MaxCall || b > MaxCall {
		return MaxCall + 1
	}
	return a * b
}

// instructions is how many steps a byte takes that is compared with a regular expression.
func instructions(pattern ref.Val) uint64 {
	text, _ := pattern.(types.String)
	parsed, err := syntax.Parse(string(text), syntax.Perl)
	if err != nil {
		return 1 // the call says what is wrong with it
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 1
	}
	return uint64(len(program.Inst))
}

// size is a value's length in bytes or items; 0 for what has none.
func size(value ref.Val) uint64 {
	if s, ok := value.(types.String); ok {
		return uint64(len(s))
	}
	if sizer, ok := value.(traits.Sizer); ok {
		if n, ok := sizer.Size().(types.Int); ok && n > 0 {
			return uint64(n)
		}
	}
	return 0
}

// depth counts the bytes and items at and below a value, up to a limit: one value may be in a list many times.
func depth(value ref.Val, limit uint64) uint64 {
	n := uint64(bytesPerItem)
	var items traits.Iterator
	mapper, _ := value.(traits.Mapper)
	switch v := value.(type) {
	case types.String, types.Bytes:
		n += size(value)
	case *types.Optional:
		if v.HasValue() {
			n += depth(v.GetValue(), limit)
		}
	case traits.Lister:
		items = v.Iterator()
	case traits.Mapper:
		items = v.Iterator()
	}
	for items != nil && n <= limit && items.HasNext() == types.True {
		item := items.Next()
		if mapper != nil {
			n += size(item)
			item = mapper.Get(item)
		}
		n += depth(item, limit-min(n, limit))
	}
	return n
}
