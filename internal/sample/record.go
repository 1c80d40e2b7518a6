package sample

import "strconv"

// record is what one CloudTrail record says; JSON texts are ready to be written. An empty part is left out, but for
// the members that every record has.
type record struct {
	version      string
	identity     []byte
	time         int64
	source       string
	name         string
	region       string
	address      []byte
	agent        []byte
	errorCode    string
	errorMessage []byte
	params       []byte
	response     []byte
	additional   []byte
	requestID    []byte
	eventID      []byte
	readOnly     bool
	resources    []byte
	eventType    string
	apiVersion   string
	account      string
	shared       []byte
	details      []byte
	vpce         string
	vpceAccount  string
	category     string
	tls          []byte // the members of tlsDetails
	console      bool   // the credentials are those of a console session
}

// append writes the record, keys in the order in which AWS writes them.
func (r *record) append(b []byte) []byte {
	text := func(key, v string) {
		b = append(b, key...)
		b = append(b, v...)
		b = append(b, '"')
	}
	raw := func(key string, v []byte) {
		b = append(b, key...)
		if len(v) == 0 {
			b = append(b, "null"...)
		} else {
			b = append(b, v...)
		}
	}
	maybe := func(key string, v []byte, closing string) {
		if len(v) > 0 {
			b = append(b, key...)
			b = append(b, v...)
			b = append(b, closing...)
		}
	}
	network := r.category == "NetworkActivity"
	text(`{"eventVersion":"`, r.version)
	raw(`,"userIdentity":`, r.identity)
	b = append(b, `,"eventTime":"`...)
	b = appendTime(b, r.time)
	text(`","eventSource":"`, r.source)
	text(`,"eventName":"`, r.name)
	text(`,"awsRegion":"`, r.region)
	maybe(`,"sourceIPAddress":"`, r.address, `"`)
	maybe(`,"userAgent":"`, r.agent, `"`)
	if r.errorCode != "" {
		text(`,"errorCode":"`, r.errorCode)
	}
	maybe(`,"errorMessage":"`, r.errorMessage, `"`)
	if !network {
		raw(`,"requestParameters":`, r.params)
		raw(`,"responseElements":`, r.response)
	}
	maybe(`,"additionalEventData":`, r.additional, "")
	maybe(`,"requestID":"`, r.requestID, `"`)
	maybe(`,"eventID":"`, r.eventID, `"`)
	if !network {
		b = append(b, `,"readOnly":`...)
		b = strconv.AppendBool(b, r.readOnly)
	}
	maybe(`,"resources":`, r.resources, "")
	text(`,"eventType":"`, r.eventType)
	if r.apiVersion != "" {
		text(`,"apiVersion":"`, r.apiVersion)
	}
	if !network {
		b = append(b, `,"managementEvent":`...)
		b = strconv.AppendBool(b, r.category == "Management")
	}
	text(`,"recipientAccountId":"`, r.account)
	maybe(`,"sharedEventID":"`, r.shared, `"`)
	maybe(`,"serviceEventDetails":`, r.details, "")
	if r.vpce != "" {
		text(`,"vpcEndpointId":"`, r.vpce)
	}
	if r.vpceAccount != "" {
		text(`,"vpcEndpointAccountId":"`, r.vpceAccount)
	}
	text(`,"eventCategory":"`, r.category)
	maybe(`,"tlsDetails":{`, r.tls, `}`)
	if r.console {
		b = append(b, `,"sessionCredentialFromConsole":"true"`...)
	}
	return append(b, '}')
}

// civil is the date of a day counted from 1970-01-01 (Hinnant's algorithm).
func civil(days int64) (year, month, day int) {
	z := days + 719468
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp + 3)
	if month > 12 {
		month -= 12
	}
	year = int(yoe + era*400)
	if month <= 2 {
		year++
	}
	return year, month, day
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// appendDay appends year, month and day of t, Unix seconds not before 1970.
func appendDay(b []byte, t int64, sep byte) []byte {
	y, m, d := civil(t / 86400)
	b = append2(append2(b, y/100), y)
	b = append2(append(b, sep), m)
	return append2(append(b, sep), d)
}

// appendTime appends t as eventTime is written.
func appendTime(b []byte, t int64) []byte {
	b = append(appendDay(b, t, '-'), 'T')
	s := int(t % 86400)
	b = append(append2(b, s/3600), ':')
	b = append(append2(b, s/60%60), ':')
	return append(append2(b, s%60), 'Z')
}

var months = [...]string{"", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// appendLongTime appends t as services write it in parameters and answers: Mar 2, 2026, 9:12:41 AM.
func appendLongTime(b []byte, t int64) []byte {
	y, m, d := civil(t / 86400)
	s := int(t % 86400)
	b = append(append(b, months[m]...), ' ')
	b = append(strconv.AppendInt(b, int64(d), 10), ", "...)
	b = append(strconv.AppendInt(b, int64(y), 10), ", "...)
	h := s / 3600
	b = append(strconv.AppendInt(b, int64((h+11)%12+1), 10), ':')
	b = append(append2(b, s/60%60), ':')
	b = append2(b, s%60)
	if h < 12 {
		return append(b, " AM"...)
	}
	return append(b, " PM"...)
}
