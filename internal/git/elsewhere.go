package git

// MovesFrom makes the draft one of a branch that stands elsewhere than where the draft started: at tip, or nowhere yet
// (""), as a branch does that begins on another one. [Remote.Push] then moves the branch from there. Call it after the last
// commit; where tip is no merged parent of it, the push is no fast-forward, and a server may refuse it.
func (d *Draft) MovesFrom(tip Hash) { d.base = tip }
