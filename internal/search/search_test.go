package search_test

import (
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/search"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	e, err := event.Parse([]byte(`{"eventVersion":"1.08","eventTime":"2026-01-05T09:12:41Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1",` +
		`"sourceIPAddress":"198.51.100.7","userIdentity":{"arn":"arn:aws:iam::111122223333:user/ana"},"errorCode":null,` +
		`"requestParameters":{"bucketName":"prod-Stra\u00dfe","keys":["a","B"],"max":1e3},"eventID":"e1"}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		terms string // separated by |, since no term has one
		want  bool
	}{
		{"", true},
		{"getobject", true},
		{"bucketname", false}, // a key is no value
		{"eventName=GET*", true},
		{"eventName=Get", false},
		{"eventName!=Get", true},
		{"eventName=GetObject|s3", true},
		{"eventName=GetObject|ec2", false},
		{"requestParameters.bucketName~^prod-", true},
		{"requestParameters.bucketName=PROD-STRA\u1e9eE", true},
		{"requestParameters.keys=b", true},
		{"requestParameters.max=1000", true},
		{"errorCode=*", false},
		{"errorMessage!=x", true},
		{"a = b", false}, // text, for its left side is no path
	} {
		var terms []string
		if c.terms != "" {
			terms = strings.Split(c.terms, "|")
		}
		q, err := search.Parse(terms)
		if err != nil {
			t.Errorf("%s: %v", c.terms, err)
			continue
		}
		for _, q := range []*search.Query{q, q.Clone()} {
			if got := q.Match(e); got != c.want {
				t.Errorf("%s: got %v", c.terms, got)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, terms := range [][]string{
		{"eventName~("}, {"sourceIPAddress|cidr=x"}, {"eventName|nonsense=x"}, {strings.Repeat("x", search.MaxTerm+1)}, make([]string, search.MaxTerms+1),
	} {
		if _, err := search.Parse(terms); err == nil || !strings.Contains(err.Error(), "cannot search for that") {
			t.Errorf("%.40q: %v", terms, err)
		}
	}
}
