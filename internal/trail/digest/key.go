package digest

import (
	"strings"
	"time"
)

const (
	stampForm = "20060102T150405Z"
	kind      = "CloudTrail-Digest"
	root      = "AWSLogs"
	ending    = ".json.gz"
	late      = "_backfill"
)

// Name is what the key of a digest tells.
type Name struct {
	Prefix       string // of the trail, without the slash after it; empty for none
	Organization string // of a trail of an organisation, otherwise empty
	Account      string // of the events
	Region       string // of the events
	Trail        string
	HomeRegion   string // of the trail
	End          time.Time
	Backfill     bool
}

// Key is the key that tells it.
func (n Name) Key() string {
	return ObjectKey(n.Prefix, n.Organization, n.Account, n.Region, n.Trail, n.HomeRegion, n.End, n.Backfill)
}

// ObjectKey is where a digest lies. prefix and organization may be empty.
func ObjectKey(prefix, organization, account, region, trail, homeRegion string, end time.Time, backfill bool) string {
	end = end.UTC()
	name := account + "_" + kind + "_" + region + "_" + trail + "_" + homeRegion + "_" + end.Format(stampForm)
	if backfill {
		name += late
	}
	return Folder(prefix, organization, account, region) + end.Format("2006/01/02/") + name + ending
}

// Folder is where the digests of an account and a Region lie, with a slash at its end.
func Folder(prefix, organization, account, region string) string {
	if prefix != "" {
		prefix += "/"
	}
	if organization != "" {
		organization += "/"
	}
	return prefix + root + "/" + organization + account + "/" + kind + "/" + region + "/"
}

// SplitKey tells what the key of a digest says; ok is false for keys that are none. A name that it gives has that key.
func SplitKey(key string) (n Name, ok bool) {
	parts := strings.Split(key, "/")
	// From the end: the file, day, month, year, Region, kind, account, perhaps the organisation, the root, and what is before it.
	if len(parts) < 8 || parts[len(parts)-6] != kind {
		return n, false
	}
	at := len(parts) - 8 // of the root
	n.Account, n.Region = parts[at+1], parts[at+3]
	if parts[at] != root {
		n.Organization = parts[at]
		if at--; at < 0 || parts[at] != root {
			return n, false
		}
	}
	n.Prefix = strings.Join(parts[:at], "/")
	file, found := strings.CutSuffix(parts[len(parts)-1], ending)
	if !found {
		return n, false
	}
	file, n.Backfill = strings.CutSuffix(file, late)
	if file, found = strings.CutPrefix(file, n.Account+"_"+kind+"_"+n.Region+"_"); !found {
		return n, false
	}
	// Only the name of the trail may have an underscore.
	i := strings.LastIndexByte(file, '_')
	if i < 0 {
		return n, false
	}
	end, err := time.Parse(stampForm, file[i+1:])
	if err != nil {
		return n, false
	}
	n.End = end
	file = file[:i]
	if i = strings.LastIndexByte(file, '_'); i < 1 {
		return n, false
	}
	n.Trail, n.HomeRegion = file[:i], file[i+1:]
	if !isAccount(n.Account) || n.Organization != "" && !strings.HasPrefix(n.Organization, "o-") || !isRegion(n.Region) || !isRegion(n.HomeRegion) {
		return n, false
	}
	return n, n.Key() == key
}

func isAccount(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

func isRegion(text string) bool {
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
