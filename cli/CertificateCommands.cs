using System.CommandLine;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Platform.Certificates;

namespace Yizhan.Cli;

/// <summary><c>yizhan enrol</c>, <c>yizhan certificate</c> and the machine half of <c>yizhan site</c>: how a device becomes a site, stays it, and stops being it.</summary>
internal static class CertificateCommands
{
    private static readonly JsonSerializerOptions Line = CliJson.Options;

    /// <summary>On the device: token in, certificate out.</summary>
    public static Command Enrol()
    {
        var token = new Option<FileInfo>("--token-file") { Description = "File of yizhan site enrol-token.", Required = true };
        var folder = Folder("Folder for key.pem, certificate.pem and root.crt.");
        var json = Json();
        var command = new Command("enrol", """
            Makes this device a site: makes its key here, asks the centre for the certificate, writes both with the root certificate.
            The token is for one use within the hour. After a lost answer run the same command again.

            Examples:
              yizhan enrol --token-file lakeside.token.json --folder /etc/yizhan/tls
            """) { token, folder, json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var invitation = Read(parsed.GetValue(token)!.FullName, EnrolmentJson.Default.EnrolmentToken);
            var target = parsed.GetValue(folder)!.FullName;
            using var certificate = await Enrolment.EnrolAsync(invitation, target, TimeProvider.System, cancellationToken);
            return Say(parsed.GetValue(json), $"This device is {invitation.Site}. Its certificate is in {target}, until {certificate.NotAfter:yyyy-MM-dd}.", new
            {
                site = invitation.Site,
                folder = target,
                serial = certificate.SerialNumber,
                notAfter = certificate.NotAfter.ToUniversalTime(),
            });
        }));
        return command;
    }

    /// <summary>On the device, without a line: renewal by files.</summary>
    public static Command Certificate() => new("certificate", "Renews this site's certificate by files, without a line.") { Request(), Install() };

    /// <summary>At the centre: token, renewal by a file, revocation.</summary>
    public static IEnumerable<Command> OfSites()
    {
        yield return Token();
        yield return Renew();
        yield return Revoke();
    }

    private static Command Token()
    {
        var site = Site();
        var minutes = new Option<int>("--minutes") { Description = "Life of the token, 1 to 60.", DefaultValueFactory = _ => 15 };
        var file = new Option<FileInfo?>("--out") { Description = "File for the token, mode 0600. Default: SITE.token.json." };
        var (centre, json) = (Centre(), Json());
        var command = new Command("enrol-token", """
            Asks the centre for a token that makes one device this site. Carry the file to the device (yizhan enrol); it is of no use
            afterwards.

            Examples:
              yizhan site enrol-token lakeside
              yizhan site enrol-token lakeside --minutes 60 --out /media/usb/lakeside.token.json
            """) { site, minutes, file, centre, json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var id = parsed.GetValue(site)!;
            using var client = new CentreClient(parsed.GetValue(centre)!);
            var token = await client.PostAsync(
                $"sites/{Uri.EscapeDataString(id)}/enrolment-tokens?minutes={parsed.GetValue(minutes)}", null, EnrolmentJson.Default.EnrolmentToken, cancellationToken);
            var path = parsed.GetValue(file)?.FullName ?? Path.GetFullPath($"{id}.token.json");
            Write(path, token, EnrolmentJson.Default.EnrolmentToken);
            var until = DateTimeOffset.FromUnixTimeMilliseconds(token.ExpiresMs);
            return Say(parsed.GetValue(json), $"{path} makes one device {id}, until {until:u}.", new { site = id, file = path, expires = until, centre = token.Centre });
        }));
        return command;
    }

    private static Command Renew()
    {
        var bundle = new Argument<FileInfo>("request") { Description = "File of yizhan certificate request." };
        var file = new Option<FileInfo?>("--out") { Description = "File for the answer. Default: SITE.answer.json." };
        var (centre, json) = (Centre(), Json());
        var command = new Command("renew", """
            Answers a renewal that came in a file from a site without a line.

            Examples:
              yizhan site renew lakeside.request.json --out /media/usb/lakeside.answer.json
            """) { bundle, file, centre, json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var asked = Read(parsed.GetValue(bundle)!.FullName, EnrolmentJson.Default.RenewalBundle);
            using var client = new CentreClient(parsed.GetValue(centre)!);
            var body = JsonSerializer.SerializeToUtf8Bytes(asked, EnrolmentJson.Default.RenewalBundle);
            var answer = await client.PostAsync(
                $"sites/{Uri.EscapeDataString(asked.Site)}/renewals", body, EnrolmentJson.Default.CertificateAnswer, cancellationToken);
            var path = parsed.GetValue(file)?.FullName ?? Path.GetFullPath($"{asked.Site}.answer.json");
            Write(path, answer, EnrolmentJson.Default.CertificateAnswer);
            return Say(parsed.GetValue(json), $"{path} goes back to {asked.Site} (yizhan certificate install).", new { site = asked.Site, file = path });
        }));
        return command;
    }

    private static Command Revoke()
    {
        var site = Site();
        var reason = new Option<string>("--reason") { Description = "Why, 1 to 200 characters.", Required = true };
        var serial = new Option<string?>("--serial") { Description = "Serial number of one certificate in hex. Default: all of the site until now." };
        var (centre, json) = (Centre(), Json());
        var command = new Command("revoke", """
            Takes the certificates of a site back: the centre's listener refuses them from now on, the other sites learn of it with
            their next look. A new device may enrol as the same site afterwards.

            Examples:
              yizhan site revoke lakeside --reason "box stolen"
              yizhan site revoke lakeside --serial 0A1B2C --reason "key seen in a ticket"
            """) { site, reason, serial, centre, json };
        command.SetAction((parsed, cancellationToken) => GuardedAsync(async () =>
        {
            var id = parsed.GetValue(site)!;
            using var client = new CentreClient(parsed.GetValue(centre)!);
            var body = JsonSerializer.SerializeToUtf8Bytes(new { reason = parsed.GetValue(reason), serial = parsed.GetValue(serial) }, Line);
            var number = await client.PostAsync($"sites/{Uri.EscapeDataString(id)}/revocations", body, CliJson.Element, cancellationToken);
            return Say(parsed.GetValue(json), $"Revoked: {id}, statement {number.GetProperty("number").GetInt64()}.", new { site = id, number = number.GetProperty("number").GetInt64() });
        }));
        return command;
    }

    private static Command Request()
    {
        var folder = Folder("Folder with key.pem, certificate.pem and root.crt.");
        var file = new Option<FileInfo?>("--out") { Description = "File for the request. Default: SITE.request.json." };
        var json = Json();
        var command = new Command("request", """
            Makes the next key and a request for its certificate, signed with the present key. Carry the file to the centre (yizhan site renew).

            Examples:
              yizhan certificate request --folder /etc/yizhan/tls --out /media/usb/lakeside.request.json
            """) { folder, file, json };
        command.SetAction((parsed, _) => GuardedAsync(() =>
        {
            var files = Enrolment.FilesIn(parsed.GetValue(folder)!.FullName);
            var bundle = Enrolment.Ask(files.Certificate, files.Key);
            var path = parsed.GetValue(file)?.FullName ?? Path.GetFullPath($"{bundle.Site}.request.json");
            Write(path, bundle, EnrolmentJson.Default.RenewalBundle);
            return Task.FromResult(Say(parsed.GetValue(json), $"{path} goes to the centre (yizhan site renew).", new { site = bundle.Site, file = path }));
        }));
        return command;
    }

    private static Command Install()
    {
        var answer = new Argument<FileInfo>("answer") { Description = "File of yizhan site renew." };
        var folder = Folder("Folder with key.pem, certificate.pem and root.crt.");
        var json = Json();
        var command = new Command("install", """
            Takes the centre's answer: checks that it fits the key that waits and replaces certificate and key. A running node needs no restart.

            Examples:
              yizhan certificate install /media/usb/lakeside.answer.json --folder /etc/yizhan/tls
            """) { answer, folder, json };
        command.SetAction((parsed, _) => GuardedAsync(() =>
        {
            var files = Enrolment.FilesIn(parsed.GetValue(folder)!.FullName);
            using var certificate = Enrolment.Take(
                Read(parsed.GetValue(answer)!.FullName, EnrolmentJson.Default.CertificateAnswer), files.Certificate, files.Key, files.Root);
            return Task.FromResult(Say(parsed.GetValue(json), $"The certificate is renewed until {certificate.NotAfter:yyyy-MM-dd}.", new
            {
                serial = certificate.SerialNumber,
                notAfter = certificate.NotAfter.ToUniversalTime(),
            }));
        }));
        return command;
    }

    private static Argument<string> Site() => new("siteId") { Description = "1 to 63 of a-z, 0-9 and '-'." };

    private static Option<Uri> Centre() =>
        new("--centre") { Description = "Web address of the centre.", DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080"), CustomParser = NodeClient.Address };

    private static Option<DirectoryInfo> Folder(string description) =>
        new("--folder") { Description = description, DefaultValueFactory = _ => new DirectoryInfo(Path.Combine(".yizhan", "tls")) };

    private static Option<bool> Json() => new("--json") { Description = "Print one JSON object last." };

    private static T Read<T>(string path, JsonTypeInfo<T> type) where T : class =>
        Guarded.Read(path, $"what was expected ({typeof(T).Name} in JSON)", text => JsonSerializer.Deserialize(text, type));

    private static void Write<T>(string path, T value, JsonTypeInfo<T> type) =>
        Platform.AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(value, type), secret: true, overwrite: true);

    private static int Say(bool json, string text, object value)
    {
        Console.WriteLine(json ? JsonSerializer.Serialize(value, Line) : text);
        return 0;
    }

    private static async Task<int> GuardedAsync(Func<Task<int>> run)
    {
        try
        {
            return await run();
        }
        catch (Exception e) when (e is CentreException or CertificateRefusedException or HttpRequestException or CryptographicException or ArgumentException)
        {
            Console.Error.WriteLine($"yizhan: {(e is HttpRequestException { InnerException: { } inner } ? $"{e.Message} {inner.Message}" : e.Message)}");
            return CommandLine.Failed;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or JsonException)
        {
            Console.Error.WriteLine($"yizhan: {e.Message}");
            return CommandLine.Failed;
        }
    }
}
